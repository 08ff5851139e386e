// The list of keys, in a dialog of its own.

import { h } from "./dom.js";

const KEYS = [
  ["/", "search"],
  ["1 … 9", "open a tab"],
  ["← →", "in the tree: parent, best child; on the tabs: the next tab"],
  ["↑ ↓", "in the tree: the next candidate of the level"],
  ["Home, End", "in the tree: the seed, the end of the best path"],
  ["Enter", "in the tree: read the candidate; in the search: the next match (Shift: the one before)"],
  ["Esc", "back to the tree; clear the search; close this"],
  ["d", "light or dark"],
  ["?", "this list"],
];

export function helpDialog() {
  const close = h("button", { type: "button", onclick: () => dialog.close() }, "Close");
  const dialog = h(
    "dialog",
    { class: "help", "aria-labelledby": "help-title" },
    h("h2", { id: "help-title" }, "Keys"),
    h("dl", {}, KEYS.map(([key, what]) => h("div", {}, h("dt", {}, h("kbd", {}, key)), h("dd", {}, what)))),
    close,
  );
  return dialog;
}
