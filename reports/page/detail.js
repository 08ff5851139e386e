// The panel of one candidate: what it says, why it was kept or cut, what it is worth, and its answers.

import { choice, h, put } from "./dom.js";
import { answerList } from "./answers.js";
import { count, dollars, fixed, signed } from "./format.js";
import { instructionView } from "./instruction.js";
import { intervalRows } from "./intervals.js";
import { factList } from "./sections.js";
import { detailAt, view } from "./store.js";

export function detailPanel(number, go) {
  const { nodes, mode } = view();
  const at = new Map(nodes.map((node, place) => [node.number, place]));
  const node = nodes[at.get(number)];
  const detail = detailAt(at.get(number));
  const seed = detailAt(0);
  const parent = node.parent === null || !at.has(node.parent) ? null : detailAt(at.get(node.parent));
  const before = [];
  if (parent) before.push([`its parent, #${node.parent}`, parent.instructions]);
  if (parent && node.parent !== nodes[0].number) before.push(["the seed", seed.instructions]);
  return [
    heading(node),
    h("p", { class: "fate" }, node.fate),
    ways(node, go),
    factList(figures(node, mode)),
    gains(node),
    h("h3", {}, "Instruction"),
    instructionView(detail.instructions, before),
    criteriaRows(node, node.parent === null ? null : nodes[at.get(node.parent)]),
    answers(node, detail, parent, seed),
  ];
}

function heading(node) {
  const chips = [
    node.origin === "seed" ? null : node.origin,
    node.level === 0 ? null : `level ${node.level}`,
    node.best ? "★ best path" : node.kept ? "● kept" : "cut",
    node.easy ? "easy" : null,
  ];
  return h(
    "div",
    { class: "heading" },
    h("h2", { tabindex: -1, id: "detail-heading" }, node.parent === null ? "The seed" : `Candidate ${node.number}`),
    chips.filter(Boolean).map((chip) => h("span", { class: "chip" + (chip.startsWith("★") ? " chip-best" : "") }, chip)),
  );
}

function ways(node, go) {
  const { nodes } = view();
  const children = nodes.filter((one) => one.parent === node.number);
  const link = (number) => h("button", { type: "button", class: "link", onclick: () => go(number) }, "#" + number);
  if (node.parent === null && !children.length) return null;
  return h(
    "p",
    { class: "ways" },
    node.parent === null ? null : ["from ", link(node.parent), children.length ? " · " : ""],
    children.length ? ["led to ", children.slice(0, 12).map((child) => [link(child.number), " "]), children.length > 12 ? `and ${children.length - 12} more` : ""] : null,
  );
}

function figures(node, mode) {
  const reward = node.reward || { mean: null, low: null };
  const worth = mode === "paper" ? ["path value", fixed(node.value), "mean reward of its path"] : ["value", signed(node.value), "beside the seed"];
  const ends = reward.low === null ? "one judgement" : `${fixed(reward.low)} to ${fixed(reward.high)}`;
  const lost = node.missing ? `, ${node.missing} missing` : "";
  return [
    { label: worth[0], value: worth[1], hint: node.parent === null ? "" : worth[2] },
    { label: "reward", value: fixed(reward.mean), hint: reward.mean === null ? "missing" : ends },
    { label: "queries", value: count(node.judged), hint: "judged" + lost },
    { label: "tokens", value: count(node.tokens), hint: `${count(node.calls)} calls` },
    { label: "cost", value: dollars(node.cost), hint: "to answer and judge" },
  ];
}

function gains(node) {
  const rows = [];
  if (node.gain) rows.push({ label: "beside the seed", ...node.gain });
  if (node.step && view().nodes[0].number !== node.parent) rows.push({ label: "beside its parent", ...node.step });
  if (!rows.length) return null;
  return h("div", {}, h("h3", {}, "Gain on common queries"), intervalRows(rows, { zero: true }));
}

function criteriaRows(node, parent) {
  if (!node.criteria.length) return null;
  const { criteria } = view();
  const before = new Map(((parent || {}).criteria || []).map((one) => [one[0], one[1]]));
  const rows = node.criteria
    .map(([index, mean, low, high, n]) => ({ label: criteria[index], mean, low, high, count: n, other: before.get(index) }))
    .sort((one, two) => one.mean - two.mean);
  return h(
    "div",
    {},
    h("h3", {}, "Criteria"),
    intervalRows(rows, { low: 1, high: 5, digits: 1 }),
    h("p", { class: "note" }, "Mean scores, 1 to 5, weakest first, with 95 % intervals", parent ? `; the ring is #${parent.number}, over all of its own queries.` : "."),
  );
}

function answers(node, detail, parent, seed) {
  const place = h("div", {});
  const beside = [];
  if (parent) beside.push(["parent", `#${node.parent}`, parent.evaluations]);
  if (parent && node.parent !== view().nodes[0].number) beside.push(["seed", "the seed", seed.evaluations]);
  const draw = (name) => {
    const found = beside.find((one) => one[0] === name);
    put(place, answerList(detail.evaluations, found ? found[2] : null, [`#${node.number}`, found ? found[1] : ""]));
  };
  const first = beside.length ? beside[0][0] : "none";
  draw(first);
  const choices = [...beside.map(([name, label]) => [name, "beside " + label]), ["none", "alone"]];
  return h("div", {}, h("h3", {}, "Answers"), beside.length ? choice("Compare with", choices, first, draw) : null, place);
}
