// The panel of the search: tree on one side, the chosen candidate on the other.

import { h, put } from "./dom.js";
import { detailPanel } from "./detail.js";
import { Search } from "./search.js";
import { Tree } from "./tree.js";
import { view } from "./store.js";

export class Candidates {
  constructor() {
    this.detail = h("section", { class: "detail", "aria-label": "Candidate" });
    this.tree = new Tree({
      onselect: (number) => this.showDetail(number),
      onenter: () => this.detail.querySelector("h2").focus(),
    });
    this.search = new Search({
      onchange: () => this.refresh(),
      onjump: (number) => this.tree.select(number),
    });
    this.empty = h("p", { class: "empty" }, "Nothing matches. Clear the search (Esc) or choose another filter.");
    this.element = h(
      "div",
      { class: "candidates" },
      this.search.element,
      h(
        "div",
        { class: "split" },
        h(
          "div",
          { class: "tree-side" },
          this.empty,
          this.tree.element,
          h("p", { class: "note", id: "tree-keys" }, "Arrow keys move: left to the parent, right to the best child, up and down within a level. Enter opens, Esc comes back."),
        ),
        this.detail,
      ),
    );
    this.detail.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.tree.element.focus();
    });
  }

  // Draw again, after a search or with newer data; the selection stays if it can.
  refresh() {
    const { nodes, hits } = this.search.found();
    this.empty.hidden = nodes.length > 0;
    this.tree.element.hidden = nodes.length === 0;
    this.tree.show(nodes, hits);
    const known = (number) => nodes.some((node) => node.number === number);
    const first = hits ? [...hits][0] : view().best;
    const number = known(this.tree.selected) && (!hits || hits.has(this.tree.selected)) ? this.tree.selected : first;
    if (number !== undefined && number !== null && known(number)) this.tree.select(number);
    else put(this.detail, h("p", { class: "empty" }, "Choose a candidate."));
  }

  newer() {
    this.search.forget();
    this.refresh();
  }

  go(number) {
    this.tree.select(number);
    if (this.tree.selected !== number) {
      this.search.input.value = "";
      this.search.words = "";
      this.search.filter = "all";
      this.refresh();
      this.tree.select(number);
    }
  }

  showDetail(number) {
    put(this.detail, detailPanel(number, (other) => this.go(other)));
  }
}
