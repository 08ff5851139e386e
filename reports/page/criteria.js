// The heat map of a run: criteria by level, by best path, or by candidate kept.

import { choice, h, put } from "./dom.js";
import { heatTable, legend } from "./heat.js";
import { view } from "./store.js";

const MOST_COLUMNS = 120;

export function criteriaPanel(go) {
  const place = h("div", {});
  let by = "level";
  function draw() {
    const { names, columns, cells, note } = table(by, go);
    if (!names.length) return put(place, h("p", { class: "empty" }, "Nothing has been judged yet."));
    const value = (row, column) => (cells[column].get(names[row].index) || {}).mean ?? null;
    put(
      place,
      heatTable({
        label: "Mean score per criterion",
        rows: names.map((one) => one.name),
        columns,
        value,
        hint: (row, column) => `${names[row].name}, ${columns[column].title}: ${cells[column].get(names[row].index).count} answers`,
        low: 1,
        high: 5,
      }),
      legend(1, 5),
      h("p", { class: "note" }, note),
    );
  }
  draw();
  const choices = [["level", "By level"], ["best", "Best path"], ["kept", "Kept candidates"]];
  return h(
    "section",
    { class: "part" },
    h("h2", {}, "Where answers gain and lose points"),
    choice("Columns", choices, by, (name) => ((by = name), draw())),
    place,
  );
}

function table(by, go) {
  const { nodes, criteria } = view();
  let groups;
  if (by === "level") {
    const levels = [...new Set(nodes.map((node) => node.level))].sort((one, two) => one - two);
    groups = levels.map((level) => ({
      label: level === 0 ? "seed" : String(level),
      title: `level ${level}`,
      nodes: nodes.filter((node) => node.level === level),
    }));
  } else {
    groups = nodes
      .filter((node) => (by === "best" ? node.best : node.kept))
      .map((node) => ({ label: "#" + node.number, title: `candidate ${node.number}`, nodes: [node], onclick: () => go(node.number) }));
  }
  const cut = groups.length > MOST_COLUMNS ? ` The last ${MOST_COLUMNS} of ${groups.length} columns are shown.` : "";
  groups = groups.slice(-MOST_COLUMNS);
  const cells = groups.map((group) => means(group.nodes));
  const asked = new Map();
  for (const column of cells) for (const [index, cell] of column) asked.set(index, (asked.get(index) || 0) + cell.count);
  const names = [...asked.keys()].sort((one, two) => asked.get(two) - asked.get(one)).map((index) => ({ index, name: criteria[index] }));
  const note =
    "Mean scores, 1 (worst) to 5 (best); criteria asked for most often first. Columns are judged on different queries " +
    "where the search drew them so, so compare along a row with care." + cut;
  return { names, columns: groups, cells, note };
}

function means(nodes) {
  const sums = new Map();
  for (const node of nodes)
    for (const [index, mean, , , count] of node.criteria) {
      const sum = sums.get(index) || { total: 0, count: 0 };
      sum.total += mean * count;
      sum.count += count;
      sums.set(index, sum);
    }
  for (const sum of sums.values()) sum.mean = sum.total / sum.count;
  return sums;
}
