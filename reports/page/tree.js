// The tree of the search: a column per level, drawn only where it is looked at, so that thousands of candidates scroll
// smoothly. One element has the focus; arrow keys move the selection, as in any tree.

import { h, put, svg } from "./dom.js";
import { fixed, signed, step } from "./format.js";
import { layout } from "./layout.js";
import { view } from "./store.js";

const CELL = { width: 158, height: 44 };
const CARD = { width: 122, height: 36 };
const HEAD = 30;
const PAD = 10;
const MARGIN = 2; // cells drawn beyond the visible ones

export class Tree {
  // onselect(number): told when the selection moves; onenter(): told when it is opened.
  constructor({ onselect, onenter }) {
    this.onselect = onselect;
    this.cards = new Map();
    this.selected = null;
    this.edges = svg("svg", { class: "edges", "aria-hidden": "true" });
    this.heads = h("div", { class: "heads", "aria-hidden": "true" });
    this.canvas = h("div", { class: "canvas", role: "presentation" }, this.edges, this.heads);
    this.element = h(
      "div",
      { class: "tree", role: "tree", tabindex: 0, "aria-label": "Candidates", "aria-describedby": "tree-keys" },
      this.canvas,
    );
    this.element.addEventListener("scroll", () => this.later());
    this.element.addEventListener("keydown", (event) => this.key(event, onenter));
    new ResizeObserver(() => this.later()).observe(this.element);
  }

  // nodes: what is shown; hits: Set of numbers that match, null if nothing is searched for.
  show(nodes, hits) {
    this.nodes = nodes;
    this.hits = hits;
    this.plan = layout(nodes);
    this.children = new Map();
    for (const node of nodes) {
      if (!this.children.has(node.parent)) this.children.set(node.parent, []);
      this.children.get(node.parent).push(node);
    }
    const width = this.plan.width * CELL.width + PAD * 2 - (CELL.width - CARD.width);
    const height = this.plan.height * CELL.height + HEAD + PAD;
    this.canvas.style.width = width + "px";
    this.canvas.style.height = height + "px";
    this.edges.setAttribute("width", width);
    this.edges.setAttribute("height", height);
    this.range = scaleOf(view());
    for (const card of this.cards.values()) card.remove();
    this.cards.clear();
    put(this.heads, this.plan.levels.map((level, x) => {
      const label = h("span", {}, level === 0 ? "seed" : "level " + level);
      label.style.left = PAD + x * CELL.width + "px";
      return label;
    }));
    this.draw();
  }

  select(number, { quiet = false, scroll = true } = {}) {
    if (!this.plan.places.has(number)) return;
    const before = this.cards.get(this.selected);
    if (before) before.setAttribute("aria-selected", "false");
    this.selected = number;
    if (scroll) this.reveal(number);
    this.draw();
    this.element.setAttribute("aria-activedescendant", "node-" + number);
    const card = this.cards.get(number);
    if (card) card.setAttribute("aria-selected", "true");
    if (!quiet) this.onselect(number);
  }

  reveal(number) {
    const { x, y } = this.at(number);
    const box = this.element;
    if (x < box.scrollLeft + PAD) box.scrollLeft = x - PAD;
    else if (x + CARD.width > box.scrollLeft + box.clientWidth - PAD) box.scrollLeft = x + CARD.width + PAD - box.clientWidth;
    if (y < box.scrollTop + HEAD + PAD) box.scrollTop = y - HEAD - PAD;
    else if (y + CARD.height > box.scrollTop + box.clientHeight - PAD) box.scrollTop = y + CARD.height + PAD - box.clientHeight;
  }

  at(number) {
    const place = this.plan.places.get(number);
    return { x: PAD + place.x * CELL.width, y: HEAD + place.y * CELL.height };
  }

  later() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.draw();
    });
  }

  // Put cards and edges where the window is, and take away those that are not.
  draw() {
    if (!this.plan) return;
    const box = this.element;
    const left = Math.floor(box.scrollLeft / CELL.width) - MARGIN;
    const right = Math.ceil((box.scrollLeft + (box.clientWidth || 800)) / CELL.width) + MARGIN;
    const top = box.scrollTop / CELL.height - MARGIN - 1;
    const bottom = (box.scrollTop + (box.clientHeight || 600)) / CELL.height + MARGIN;
    const wanted = new Map();
    for (let x = Math.max(0, left); x <= Math.min(this.plan.columns.length - 1, right); x++)
      for (const place of within(this.plan.columns[x], top, bottom)) wanted.set(place.node.number, place);
    if (this.selected !== null && this.plan.places.has(this.selected)) wanted.set(this.selected, this.plan.places.get(this.selected));
    for (const [number, card] of this.cards)
      if (!wanted.has(number)) {
        card.remove();
        this.cards.delete(number);
      }
    for (const [number, place] of wanted) if (!this.cards.has(number)) this.addCard(place);
    this.drawEdges(wanted);
  }

  addCard(place) {
    const { node } = place;
    const card = this.card(node);
    const { x, y } = this.at(node.number);
    card.style.left = x + "px";
    card.style.top = y + "px";
    card.addEventListener("click", () => this.select(node.number, { scroll: false }));
    this.cards.set(node.number, card);
    this.canvas.append(card);
  }

  card(node) {
    const { paper } = this.range;
    const siblings = this.children.get(node.parent) || [];
    const missing = node.judged > 0 && node.missing === node.judged;
    const figure = missing ? "missing" : paper ? fixed(node.parent === null ? (node.reward || {}).mean : node.value, 2) : node.parent === null ? "seed" : signed(node.value, 3);
    const fate = node.best ? "on the best path" : node.kept ? "kept" : "cut";
    const at = step(node.value, this.range.low, this.range.high, 9);
    const dim = this.hits && !this.hits.has(node.number);
    const names = ["card", node.best ? "is-best" : node.kept ? "is-kept" : "is-cut", dim ? "is-dim" : ""];
    return h(
      "div",
      {
        class: names.join(" ").trim(),
        id: "node-" + node.number,
        role: "treeitem",
        "aria-level": node.level + 1,
        "aria-selected": String(node.number === this.selected),
        "aria-setsize": siblings.length,
        "aria-posinset": siblings.indexOf(node) + 1,
        "aria-label": `Candidate ${node.number}, ${node.origin}, level ${node.level}, ${figure}, ${fate}`,
      },
      h("span", { class: "tint tint-" + (missing || at === null ? "none" : at) }),
      h("span", { class: "number" }, "#" + node.number),
      h("span", { class: "figure" }, figure),
      h("span", { class: "mark", title: fate }, node.best ? "★" : node.kept ? "●" : ""),
    );
  }

  drawEdges(wanted) {
    const lines = [];
    const best = [];
    const drawn = new Set();
    const edge = (place) => {
      const { node } = place;
      if (node.parent === null || !this.plan.places.has(node.parent) || drawn.has(node.number)) return;
      drawn.add(node.number);
      const to = this.at(node.number);
      const from = this.at(node.parent);
      const half = CARD.height / 2;
      const x = from.x + CARD.width;
      const bend = (CELL.width - CARD.width) / 2;
      const path = `M${x} ${from.y + half}C${x + bend} ${from.y + half} ${to.x - bend} ${to.y + half} ${to.x} ${to.y + half}`;
      (node.best ? best : lines).push(path);
    };
    for (const place of wanted.values()) edge(place);
    for (const place of this.bestPath()) edge(place);
    put(this.edges, svg("path", { class: "edge", d: lines.join("") }), svg("path", { class: "edge best", d: best.join("") }));
  }

  bestPath() {
    return this.nodes.filter((node) => node.best).map((node) => this.plan.places.get(node.number));
  }

  key(event, onenter) {
    const moves = {
      ArrowLeft: () => this.parent(),
      ArrowRight: () => this.child(),
      ArrowUp: () => this.sibling(-1),
      ArrowDown: () => this.sibling(1),
      Home: () => this.nodes[0],
      End: () => this.nodes.findLast((node) => node.best) || this.nodes[this.nodes.length - 1],
    };
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      onenter();
    } else if (moves[event.key]) {
      event.preventDefault();
      const node = this.plan.places.has(this.selected) ? moves[event.key]() : this.nodes[0];
      if (node) this.select(node.number);
    }
  }

  current() {
    return this.plan.places.get(this.selected).node;
  }

  parent() {
    const place = this.plan.places.get(this.current().parent);
    return place ? place.node : null;
  }

  child() {
    const children = this.children.get(this.selected) || [];
    return children.find((node) => node.best) || children.find((node) => node.kept) || children[0];
  }

  sibling(by) {
    const column = this.plan.columns[this.plan.places.get(this.selected).x];
    const at = column.findIndex((place) => place.node.number === this.selected);
    const next = column[at + by];
    return next ? next.node : null;
  }
}

// The cards of a column between two heights; columns are sorted by height.
function within(column, top, bottom) {
  let low = 0;
  let high = column.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (column[middle].y < top) low = middle + 1;
    else high = middle;
  }
  let end = low;
  while (end < column.length && column[end].y <= bottom) end++;
  return column.slice(low, end);
}

// Ends of the colour scale: in paper mode the whole scale of rewards, else the same to both sides of the seed.
function scaleOf({ mode, nodes }) {
  if (mode === "paper") return { paper: true, low: 0, high: 1 };
  let most = 0.02;
  for (const node of nodes) most = Math.max(most, Math.abs(node.value || 0));
  return { paper: false, low: -most * 1.001, high: most * 1.001 };
}
