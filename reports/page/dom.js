// Elements out of plain values. Text goes in as text nodes alone: nothing here can make markup of a string.

const SVG = "http://www.w3.org/2000/svg";

// h("p", {class: "note", onclick: f}, "text", child): a property of a name in `on...` is a listener, `true` an attribute
// without a value, null and false none at all.
export function h(tag, properties, ...children) {
  return fill(document.createElement(tag), properties, children);
}

export function svg(tag, properties, ...children) {
  return fill(document.createElementNS(SVG, tag), properties, children);
}

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties || {})) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== null && value !== false && value !== undefined) element.setAttribute(name, String(value));
  }
  add(element, children);
  return element;
}

export function add(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

export function put(element, ...children) {
  element.replaceChildren();
  add(element, children);
  return element;
}

// A list of which one is open at a time, as buttons: choices is [[name, label], ...].
export function choice(label, choices, chosen, onchoose) {
  const buttons = choices.map(([name, text]) =>
    h("button", { type: "button", "aria-pressed": String(name === chosen), onclick: () => choose(name) }, text),
  );
  function choose(name) {
    buttons.forEach((button, place) => button.setAttribute("aria-pressed", String(choices[place][0] === name)));
    onchoose(name);
  }
  return h("div", { class: "choice", role: "group", "aria-label": label }, buttons);
}
