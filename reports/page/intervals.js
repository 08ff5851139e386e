// Means with their intervals, as bars on one axis: a dot for the mean, a line from end to end, a mark at zero.

import { h, svg } from "./dom.js";
import { fixed, signed } from "./format.js";

// rows: [{label, mean, low, high, count, faint?}]; options: zero, low, high (ends of the axis), digits, note per row.
export function intervalRows(rows, options = {}) {
  const axis = axisOf(rows, options);
  return h(
    "div",
    { class: "intervals", role: "list" },
    rows.map((row) => intervalRow(row, axis, options)),
  );
}

function intervalRow(row, axis, options) {
  const show = options.zero ? signed : fixed;
  const digits = options.digits === undefined ? 3 : options.digits;
  const known = row.mean !== null && row.mean !== undefined;
  const range = known && row.low !== null ? ` ${show(row.low, digits)} to ${show(row.high, digits)}` : "";
  return h(
    "div",
    { class: "interval", role: "listitem" },
    h("span", { class: "interval-label" }, row.label),
    bar(row, axis, options),
    h(
      "span",
      { class: "interval-figure" },
      h("b", {}, known ? show(row.mean, digits) : "missing"),
      range ? h("span", { class: "faint" }, range) : null,
      row.count ? h("span", { class: "faint" }, ` · n ${row.count}`) : null,
    ),
  );
}

export function bar(row, axis, options = {}) {
  const at = (value) => Math.max(0, Math.min(100, ((value - axis.low) / (axis.high - axis.low || 1)) * 100));
  const parts = [];
  if (options.zero) parts.push(line(at(0), 1, at(0), 15, "zero"));
  parts.push(line(0, 8, 100, 8, "track"));
  if (row.mean !== null && row.mean !== undefined) {
    if (row.low !== null && row.low !== undefined) parts.push(line(at(row.low), 8, at(row.high), 8, "range"));
    const sign = options.zero && row.low !== null ? (row.low > 0 ? " above" : row.high < 0 ? " below" : "") : "";
    parts.push(svg("circle", { cx: at(row.mean) + "%", cy: 8, r: 5, class: "mean" + sign }));
  }
  if (row.other !== null && row.other !== undefined)
    parts.push(svg("circle", { cx: at(row.other) + "%", cy: 8, r: 4, class: "other" }));
  return svg("svg", { class: "bar", height: 16, "aria-hidden": "true" }, parts);
}

function line(x1, y1, x2, y2, kind) {
  return svg("line", { x1: x1 + "%", y1, x2: x2 + "%", y2, class: kind });
}

export function axisOf(rows, options) {
  if (options.low !== undefined) return { low: options.low, high: options.high };
  const ends = rows.flatMap((row) => [row.mean, row.low, row.high]).filter((end) => end !== null && end !== undefined);
  if (options.zero) ends.push(0);
  const low = Math.min(...ends, Infinity);
  const high = Math.max(...ends, -Infinity);
  const edge = (high - low || 0.1) * 0.06;
  return { low: low - edge, high: high + edge };
}
