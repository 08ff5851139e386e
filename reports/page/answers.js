// Answers side by side: what two programs said to the same query, and how each was judged.

import { h, put } from "./dom.js";
import { fixed, signed } from "./format.js";
import { criteriaReasons, view } from "./store.js";
import { modelText } from "./sections.js";

// mine, theirs: evaluations; names: how the two are called. `theirs` may lack queries, or be null: nothing beside.
export function answerList(mine, theirs, names) {
  if (!mine.length) return h("p", { class: "empty" }, "No answer was judged.");
  const others = new Map((theirs || []).map((found) => [found.query, found]));
  return h(
    "div",
    { class: "answers" },
    mine.map((found) => answerItem(found, theirs ? others.get(found.query) || null : null, names)),
  );
}

function answerItem(found, other, names) {
  const body = h("div", { class: "answer-body" });
  const change = other && found.reward !== null && other.reward !== null ? found.reward - other.reward : null;
  const item = h(
    "details",
    { class: "answer" },
    h(
      "summary",
      {},
      h("span", { class: "query", dir: "auto" }, view().queries[found.query]),
      h(
        "span",
        { class: "reward" },
        h("b", {}, found.reward === null ? "missing" : fixed(found.reward, 2)),
        change === null ? null : h("span", { class: "change " + (change > 0 ? "up" : change < 0 ? "down" : "") }, signed(change, 2)),
      ),
    ),
    body,
  );
  item.addEventListener("toggle", () => {
    if (item.open && !body.firstChild) put(body, answerBody(found, other, names));
  });
  return item;
}

function answerBody(found, other, names) {
  const columns = other ? [[names[0], found], [names[1], other]] : [[names[0], found]];
  return [
    h("h4", {}, "Query"),
    modelText(view().queries[found.query], "boxed"),
    h(
      "div",
      { class: "beside" },
      columns.map(([name, one]) =>
        h(
          "div",
          { class: "side" },
          h("h4", {}, name, h("span", { class: "faint" }, one.reward === null ? " · missing" : ` · ${fixed(one.reward, 2)}`)),
          one.error ? h("p", { class: "problem" }, one.error) : null,
          one.answer ? h("div", { class: "text boxed tall", dir: "auto", tabindex: 0, role: "region", "aria-label": "Answer of " + name }, one.answer) : h("p", { class: "empty" }, "No answer."),
        ),
      ),
    ),
    scoreTable(found, other, names),
    found.feedback && !found.scores.some((score) => score[2]) ? [h("h4", {}, "Feedback"), modelText(found.feedback, "boxed tall")] : null,
    reasons(found.query),
  ];
}

function scoreTable(found, other, names) {
  if (!found.scores.length) return null;
  const before = new Map(((other || {}).scores || []).map((score) => [score[0], score]));
  const { criteria } = view();
  return h(
    "ul",
    { class: "verdicts" },
    found.scores.map(([criterion, value, reason]) => {
      const old = before.get(criterion);
      return h(
        "li",
        {},
        h("div", { class: "verdict-head" }, h("b", {}, criteria[criterion]), pips(value), old ? h("span", { class: "faint" }, `${names[1]}: ${old[1] === null ? "missing" : old[1]}`) : null),
        reason ? h("p", { dir: "auto" }, reason) : null,
        old && old[2] && old[2] !== reason ? h("p", { class: "faint", dir: "auto" }, `${names[1]}: `, old[2]) : null,
      );
    }),
  );
}

function pips(value) {
  if (value === null) return h("span", { class: "pips" }, "missing");
  const filled = "●".repeat(Math.max(0, Math.min(5, Math.round(value))));
  return h("span", { class: "pips" }, h("span", { "aria-hidden": "true" }, filled.padEnd(5, "○")), ` ${value}`, h("span", { class: "away" }, " of 5"));
}

function reasons(query) {
  const entry = criteriaReasons(query);
  if (!entry) return null;
  return h(
    "details",
    { class: "why" },
    h("summary", {}, "Why these criteria"),
    entry.analysis ? h("p", { dir: "auto" }, entry.analysis) : null,
    h("dl", {}, entry.criteria.map(([name, weight, definition, reason]) => [
      h("dt", {}, name, weight !== null && weight !== 1 ? h("span", { class: "faint" }, ` weight ${weight}`) : null),
      h("dd", { dir: "auto" }, definition, reason ? h("span", { class: "faint" }, " " + reason) : null),
    ])),
  );
}

