// Numbers as a person reads them; what is not known is a dash.

export const UNKNOWN = "—";

export function fixed(value, digits = 3) {
  return value === null || value === undefined ? UNKNOWN : value.toFixed(digits);
}

export function signed(value, digits = 3) {
  if (value === null || value === undefined) return UNKNOWN;
  const text = Math.abs(value).toFixed(digits);
  return (value < 0 && Number(text) !== 0 ? "−" : "+") + text;
}

export function count(value) {
  return value === null || value === undefined ? UNKNOWN : Math.round(value).toLocaleString("en-US");
}

export function dollars(value) {
  return value === null || value === undefined ? "unknown" : "$" + value.toFixed(4);
}

export function interval(found, digits = 3, show = signed) {
  if (!found || found.mean === null) return UNKNOWN;
  if (found.low === null) return show(found.mean, digits);
  return `${show(found.mean, digits)} (${show(found.low, digits)} to ${show(found.high, digits)})`;
}

// One of `steps` classes between two ends; null if there is no value.
export function step(value, low, high, steps) {
  if (value === null || value === undefined) return null;
  const share = (value - low) / (high - low || 1);
  return Math.max(0, Math.min(steps - 1, Math.floor(share * steps)));
}
