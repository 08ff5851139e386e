// The reward over levels: what each candidate is worth, and the line of the best path.

import { h, svg } from "./dom.js";
import { fixed, signed } from "./format.js";
import { view } from "./store.js";

const WIDTH = 720;
const HEIGHT = 240;
const EDGE = { left: 52, right: 16, top: 14, bottom: 34 };
const MOST_DOTS = 600;

export function rewardChart(go) {
  const { nodes, mode } = view();
  const known = nodes.filter((node) => node.value !== null && (node.judged > node.missing || node.parent === null));
  if (known.length < 2) return null;
  const paper = mode === "paper";
  const shown = paper ? known.filter((node) => node.parent !== null) : known;
  const show = paper ? fixed : signed;
  const path = shown.filter((node) => node.best);
  const last = Math.max(...shown.map((node) => node.level));
  const first = Math.min(...shown.map((node) => node.level));
  const ends = shown.map((node) => node.value);
  const scale = ticks(Math.min(...ends), Math.max(...ends));
  const x = (level) => EDGE.left + ((level - first) / (last - first || 1)) * (WIDTH - EDGE.left - EDGE.right);
  const y = (value) => EDGE.top + (1 - (value - scale.low) / (scale.high - scale.low)) * (HEIGHT - EDGE.top - EDGE.bottom);
  const dots = thinned(shown, path);
  const drawing = svg(
    "svg",
    { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "chart", role: "img", "aria-label": told(path, show) },
    scale.values.map((value) => [
      svg("line", { x1: EDGE.left, x2: WIDTH - EDGE.right, y1: y(value), y2: y(value), class: value === 0 && !paper ? "zero" : "grid" }),
      svg("text", { x: EDGE.left - 8, y: y(value) + 4, class: "tick end" }, show(value, 2)),
    ]),
    levelTicks(first, last).map((level) => svg("text", { x: x(level), y: HEIGHT - 12, class: "tick middle" }, level === 0 ? "seed" : level)),
    dots.map((node) => dot(node, x(node.level) + spread(node), y(node.value), go, show)),
    svg("polyline", { class: "path", points: path.map((node) => `${x(node.level)},${y(node.value)}`).join(" ") }),
    path.map((node) => dot(node, x(node.level), y(node.value), go, show)),
  );
  const unit = paper
    ? "Mean reward of each candidate's path, 0 to 1, by level. Its queries differ from level to level, so a line that rises is no evidence of a gain."
    : "By how much each candidate is better than your program, in the search's own estimate, by level; the held-out comparison has the last word.";
  return h("figure", { class: "figure-chart" }, drawing, h("figcaption", { class: "note" }, key(), " ", unit));
}

function dot(node, x, y, go, show) {
  const kind = node.best ? "dot best" : node.kept ? "dot kept" : "dot cut";
  const title = svg("title", {}, `Candidate ${node.number}: ${show(node.value)}`);
  return svg("circle", { cx: x, cy: y, r: node.best ? 5.5 : 4, class: kind, onclick: () => go(node.number) }, title);
}

function key() {
  return [
    h("span", { class: "key" }, svg("svg", { width: 12, height: 12, "aria-hidden": "true" }, svg("circle", { cx: 6, cy: 6, r: 5, class: "dot best" })), " best path "),
    h("span", { class: "key" }, svg("svg", { width: 12, height: 12, "aria-hidden": "true" }, svg("circle", { cx: 6, cy: 6, r: 4, class: "dot kept" })), " kept "),
    h("span", { class: "key" }, svg("svg", { width: 12, height: 12, "aria-hidden": "true" }, svg("circle", { cx: 6, cy: 6, r: 4, class: "dot cut" })), " cut. "),
  ];
}

function spread(node) {
  return node.best ? 0 : ((node.number * 7) % 11) - 5;
}

function thinned(nodes, path) {
  const others = nodes.filter((node) => !node.best);
  const every = Math.ceil(others.length / MOST_DOTS);
  return others.filter((_, place) => place % every === 0);
}

function told(path, show) {
  const values = path.map((node) => `level ${node.level}: ${show(node.value)}`);
  return `Value over levels on the best path: ${values.slice(0, 40).join(", ")}`;
}

function levelTicks(first, last) {
  const every = Math.ceil((last - first + 1) / 16);
  return Array.from({ length: last - first + 1 }, (_, place) => first + place).filter((level) => (level - first) % every === 0);
}

function ticks(low, high) {
  const span = high - low || 0.1;
  const power = 10 ** Math.floor(Math.log10(span / 4));
  const size = [1, 2, 5, 10].map((one) => one * power).find((one) => span / one <= 5);
  const begin = Math.floor(low / size);
  const end = Math.ceil(high / size);
  const values = Array.from({ length: end - begin + 1 }, (_, place) => Number(((begin + place) * size).toPrecision(6)));
  return { low: values[0], high: values[values.length - 1] || size, values };
}
