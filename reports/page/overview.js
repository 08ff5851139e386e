// The first panel: what changed, what it is worth, and how the search came there.

import { h } from "./dom.js";
import { rewardChart } from "./chart.js";
import { diffed } from "./instruction.js";
import { modelText, sectionElements } from "./sections.js";
import { view } from "./store.js";

export function overviewPanel(go) {
  const { notes, held_out: heldOut, instructions } = view();
  const chart = rewardChart(go);
  return [
    instructionChange(instructions),
    chart ? h("section", { class: "part" }, h("h2", {}, "The reward over levels"), chart) : null,
    sectionElements(heldOut),
    notes.length ? h("section", { class: "part" }, h("h2", {}, "Worth knowing"), h("ul", { class: "lines" }, notes.map((note) => h("li", {}, note)))) : null,
  ];
}

function instructionChange({ seed, final }) {
  const names = Object.keys(seed);
  if (!names.length) return null;
  const changed = final && names.some((name) => final[name] !== seed[name]);
  return h(
    "section",
    { class: "part" },
    h("h2", {}, !final ? "Your instruction" : changed ? "What changed in the instruction" : "The instruction, unchanged"),
    names.map((name) => [
      names.length > 1 ? h("h4", {}, name) : null,
      changed ? diffed(seed[name], final[name] || "") : modelText(seed[name], "boxed"),
    ]),
  );
}
