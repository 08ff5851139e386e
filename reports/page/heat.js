// Heat maps: a table whose cells carry their number, so that nothing is told by colour alone.

import { h } from "./dom.js";
import { fixed, step } from "./format.js";

export const STEPS = 7;

// what: {label, rows: [text], columns: [{label, title, onclick}], value(row, column), hint(row, column), low, high}
export function heatTable(what) {
  return h(
    "div",
    { class: "scroll", tabindex: 0, role: "region", "aria-label": what.label },
    h(
      "table",
      { class: "heat" },
      h(
        "thead",
        {},
        h("tr", {}, h("td", {}), what.columns.map((column) => h("th", { scope: "col" }, head(column)))),
      ),
      h(
        "tbody",
        {},
        what.rows.map((name, row) =>
          h(
            "tr",
            {},
            h("th", { scope: "row" }, name),
            what.columns.map((_, column) => {
              const value = what.value(row, column);
              const at = step(value, what.low, what.high, STEPS);
              const hint = what.hint && at !== null ? what.hint(row, column) : null;
              return h("td", { class: at === null ? "none" : "heat-" + at, title: hint }, at === null ? "" : fixed(value, 1));
            }),
          ),
        ),
      ),
    ),
  );
}

function head(column) {
  if (!column.onclick) return column.label;
  return h("button", { type: "button", class: "link", onclick: column.onclick, title: column.title }, column.label);
}

export function legend(low, high) {
  const steps = Array.from({ length: STEPS }, (_, place) => h("span", { class: "swatch heat-" + place }));
  return h("p", { class: "legend" }, h("span", {}, String(low)), steps, h("span", {}, String(high)));
}
