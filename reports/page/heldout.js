// The panel of the final selection: each held-out query, answered by your program and by a finalist.

import { choice, h, put } from "./dom.js";
import { answerList } from "./answers.js";
import { bar } from "./intervals.js";
import { fixed, signed } from "./format.js";
import { sectionElements } from "./sections.js";
import { finalists, view } from "./store.js";

export function heldOutPanel() {
  const all = finalists();
  if (all.length < 2)
    return h("p", { class: "empty" }, view().finished ? "This run compared nothing on held-out queries." : "The comparison on held-out queries comes last.");
  const [seed, ...others] = all;
  const place = h("div", {});
  const first = Math.max(0, others.findIndex((one) => one.winner));
  const draw = (name) => put(place, compared(seed, others[Number(name)]));
  draw(String(first));
  const choices = others.map((one, number) => [String(number), one.part + (one.winner ? " ★" : "")]);
  return [
    sectionElements(view().held_out),
    h(
      "section",
      { class: "part" },
      h("h2", {}, "Query by query"),
      choices.length > 1 ? choice("Finalist", choices, String(first), draw) : null,
      place,
    ),
  ];
}

function compared(seed, other) {
  const before = new Map(seed.evaluations.map((found) => [found.query, found]));
  const change = (found) => {
    const old = before.get(found.query);
    return old && old.reward !== null && found.reward !== null ? found.reward - old.reward : 0;
  };
  const sorted = [...other.evaluations].sort((one, two) => change(two) - change(one));
  const better = sorted.filter((found) => change(found) > 0).length;
  const worse = sorted.filter((found) => change(found) < 0).length;
  return [
    h("p", {}, `${better} better, ${worse} worse, ${sorted.length - better - worse} alike of ${sorted.length} queries.`),
    dumbbells(sorted, before),
    h("h3", {}, "Answers, most improved first"),
    answerList(sorted, seed.evaluations, [other.part, "your program"]),
  ];
}

function dumbbells(sorted, before) {
  const rows = sorted.filter((found) => found.reward !== null && before.get(found.query) && before.get(found.query).reward !== null);
  if (!rows.length) return null;
  const axis = { low: 0, high: 1 };
  return h(
    "div",
    { class: "dumbbells", role: "img", "aria-label": "Reward of each query before and after" },
    rows.map((found) => {
      const old = before.get(found.query).reward;
      const title = `${fixed(old, 2)} before, ${fixed(found.reward, 2)} after (${signed(found.reward - old, 2)})`;
      const row = { mean: found.reward, low: Math.min(old, found.reward), high: Math.max(old, found.reward), other: old };
      return h("div", { class: "dumbbell " + (found.reward > old ? "up" : found.reward < old ? "down" : ""), title }, bar(row, axis));
    }),
    h("p", { class: "note" }, "One line per query: the ring is your program, the dot the finalist; reward 0 to 1."),
  );
}
