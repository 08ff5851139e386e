// Search and filter: which candidates are shown, and which of them match.

import { choice, h } from "./dom.js";
import { detailAt, view } from "./store.js";

const FILTERS = [
  ["all", "All", () => true],
  ["kept", "Kept", (node) => node.kept],
  ["best", "Best path", (node) => node.best],
  ["problem", "Problems", (node) => node.missing > 0 || node.failed > 0],
];

export class Search {
  // onchange(): told when the answer of `found` is another one; onjump(number): told when a match is gone to.
  constructor({ onchange, onjump }) {
    this.filter = "all";
    this.words = "";
    this.texts = null;
    this.onchange = onchange;
    this.onjump = onjump;
    this.input = h("input", {
      type: "search",
      id: "search",
      placeholder: "Search instructions, answers, reasons  ( / )",
      "aria-label": "Search candidates",
      autocomplete: "off",
      spellcheck: "false",
      oninput: () => this.soon(),
      onkeydown: (event) => this.key(event),
    });
    this.status = h("span", { class: "status", role: "status" });
    const button = (label, sign, by) =>
      h("button", { type: "button", class: "icon", "aria-label": label, title: label, onclick: () => this.jump(by) }, sign);
    this.element = h(
      "div",
      { class: "toolbar" },
      h("div", { class: "searching" }, this.input, button("Previous match", "‹", -1), button("Next match", "›", 1)),
      choice("Filter", FILTERS.map(([name, label]) => [name, label]), this.filter, (name) => {
        this.filter = name;
        this.onchange();
      }),
      this.status,
    );
  }

  // The nodes to show, with the way to each from the seed, and the numbers that match (null: all do).
  found() {
    const { nodes } = view();
    const passes = FILTERS.find(([name]) => name === this.filter)[2];
    const words = this.words;
    if (this.filter === "all" && !words) {
      this.hits = null;
      this.status.textContent = `${nodes.length} candidates`;
      return { nodes, hits: null };
    }
    const texts = words ? this.corpus() : null;
    const wanted = words.match(/^#(\d+)$/);
    const matches = (node, place) => (wanted ? node.number === Number(wanted[1]) : !words || texts[place].includes(words));
    this.hits = new Set(nodes.filter((node, place) => passes(node) && matches(node, place)).map((node) => node.number));
    const shown = new Set();
    const byNumber = new Map(nodes.map((node) => [node.number, node]));
    for (let number of this.hits)
      while (number !== null && number !== undefined && !shown.has(number)) {
        shown.add(number);
        number = (byNumber.get(number) || {}).parent;
      }
    this.status.textContent = `${this.hits.size} of ${nodes.length} candidates`;
    return { nodes: nodes.filter((node) => shown.has(node.number)), hits: this.hits };
  }

  // All texts of each node in lower case, made when the first word is typed.
  corpus() {
    const { nodes, queries, criteria } = view();
    if (!this.texts || this.texts.length !== nodes.length)
      this.texts = nodes.map((node, place) => {
        const detail = detailAt(place);
        const parts = ["#" + node.number, node.origin, ...Object.values(detail.instructions)];
        for (const found of detail.evaluations) {
          parts.push(queries[found.query], found.answer, found.error, found.feedback);
          for (const [criterion, , reason] of found.scores) parts.push(criteria[criterion], reason);
        }
        return parts.join("\n").toLowerCase();
      });
    return this.texts;
  }

  forget() {
    this.texts = null;
  }

  soon() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.apply(), 120);
  }

  apply() {
    clearTimeout(this.timer);
    const words = this.input.value.trim().toLowerCase();
    if (words === this.words) return;
    this.words = words;
    this.onchange();
  }

  key(event) {
    if (event.key === "Enter") {
      event.preventDefault();
      this.apply();
      this.jump(event.shiftKey ? -1 : 1);
    } else if (event.key === "Escape") {
      event.preventDefault();
      this.input.value = "";
      this.apply();
    }
  }

  jump(by) {
    if (!this.hits || !this.hits.size) return;
    const numbers = [...this.hits].sort((one, two) => one - two);
    const at = numbers.indexOf(this.current);
    this.current = numbers[(at + by + numbers.length) % numbers.length];
    if (at < 0) this.current = by > 0 ? numbers[0] : numbers[numbers.length - 1];
    this.onjump(this.current);
  }
}
