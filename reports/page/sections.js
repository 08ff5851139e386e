// The parts that any page may have: figures, tables, intervals, lights, texts, heat maps (`reports/sections.py`).

import { h } from "./dom.js";
import { count } from "./format.js";
import { intervalRows } from "./intervals.js";
import { heatTable, legend } from "./heat.js";

export function sectionElements(sections) {
  return sections.map((section) =>
    h(
      "section",
      { class: "part part-" + section.type },
      section.title ? h("h2", {}, section.title) : null,
      DRAWN[section.type] ? DRAWN[section.type](section) : null,
      section.note ? h("p", { class: "note" }, section.note) : null,
    ),
  );
}

export function factList(items) {
  return h(
    "dl",
    { class: "facts" },
    items.map((item) =>
      h(
        "div",
        { class: "fact" },
        h("dt", {}, item.label),
        h("dd", {}, h("span", { class: "figure" }, item.value), item.hint ? h("span", { class: "hint" }, item.hint) : null),
      ),
    ),
  );
}

export function modelText(text, kind = "") {
  return h("div", { class: "text " + kind, dir: "auto" }, text);
}

const SIGNS = { good: ["●", "good"], warn: ["▲", "look at this"], bad: ["■", "bad"], unknown: ["○", "not known"] };

function lightRows(section) {
  return h(
    "ul",
    { class: "lights" },
    section.rows.map((row) => {
      const [sign, word] = SIGNS[row.state] || SIGNS.unknown;
      return h(
        "li",
        { class: "light light-" + row.state },
        h("span", { class: "sign", "aria-hidden": "true" }, sign),
        h("div", {}, h("b", {}, row.label), h("span", { class: "state" }, word), h("p", {}, row.text)),
      );
    }),
  );
}

function tableOf(section) {
  const numeric = section.columns.map((_, place) => {
    const cells = section.rows.map((row) => row[place]).filter((cell) => cell !== null && cell !== "");
    return cells.length > 0 && cells.every((cell) => typeof cell === "number" || /^([$+−-]?[\d,.]+%?|unknown|—)$/.test(cell));
  });
  const kind = (place) => (numeric[place] ? { class: "number" } : {});
  return h(
    "div",
    { class: "scroll", tabindex: 0, role: "region", "aria-label": section.title || "table" },
    h(
      "table",
      {},
      h("thead", {}, h("tr", {}, section.columns.map((name, place) => h("th", { scope: "col", ...kind(place) }, name)))),
      h(
        "tbody",
        {},
        section.rows.map((row) =>
          h(
            "tr",
            { class: row[0] === "all" ? "sum" : null },
            row.map((cell, place) => h(place ? "td" : "th", { scope: place ? null : "row", ...kind(place) }, cellText(cell))),
          ),
        ),
      ),
    ),
  );
}

function cellText(cell) {
  if (cell === null) return "—";
  if (typeof cell !== "number") return cell;
  return Number.isInteger(cell) || Math.abs(cell) >= 1000 ? count(cell) : String(Number(cell.toPrecision(3)));
}

function matrixOf(section) {
  return [
    heatTable({
      label: section.title,
      rows: section.rows,
      columns: section.columns.map((name) => ({ label: name })),
      value: (row, column) => section.values[row][column],
      low: section.low,
      high: section.high,
    }),
    legend(section.low, section.high),
  ];
}

const DRAWN = {
  facts: (section) => factList(section.items),
  table: tableOf,
  intervals: (section) => intervalRows(section.rows, { zero: section.zero }),
  lights: lightRows,
  text: (section) => h("pre", { class: "plain", tabindex: 0 }, section.text),
  matrix: matrixOf,
  lines: (section) => h("ul", { class: "lines" }, section.lines.map((line) => h("li", { dir: "auto" }, line))),
};
