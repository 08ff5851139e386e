// An instruction, as it is or as the words that were added and taken away.

import { choice, h, put } from "./dom.js";
import { wordDiff } from "./diff.js";
import { modelText } from "./sections.js";

// before: list of [name, {predictor: text}] to compare with; after: {predictor: text}.
export function instructionView(after, before) {
  const place = h("div", {});
  const modes = [...before.map(([name], number) => [String(number), "Changes from " + name]), ["text", "Text"]];
  const first = modes[0][0];
  const draw = (mode) => put(place, Object.entries(after).map(([predictor, text]) => one(predictor, text, mode)));
  const several = Object.keys(after).length > 1;
  function one(predictor, text, mode) {
    const shown = mode === "text" ? modelText(text, "boxed") : diffed((before[Number(mode)][1] || {})[predictor] || "", text);
    return [several ? h("h4", {}, predictor) : null, shown];
  }
  draw(first);
  return h("div", {}, modes.length > 1 ? choice("Instruction", modes, first, draw) : null, place);
}

export function diffed(before, after) {
  const parts = wordDiff(before, after);
  const same = parts.every(([kind]) => kind === "same");
  return [
    h(
      "div",
      { class: "text boxed diff", dir: "auto" },
      parts.map(([kind, text]) => (kind === "same" ? text : h(kind === "add" ? "ins" : "del", {}, text))),
    ),
    same ? h("p", { class: "note" }, "No word is different.") : null,
  ];
}
