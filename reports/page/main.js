// The page: a head that says what was decided, and tabs for everything behind it.

import { Candidates } from "./candidates.js";
import { criteriaPanel } from "./criteria.js";
import { h, put } from "./dom.js";
import { helpDialog } from "./help.js";
import { heldOutPanel } from "./heldout.js";
import { bar, axisOf } from "./intervals.js";
import { signed } from "./format.js";
import { follow } from "./live.js";
import { overviewPanel } from "./overview.js";
import { factList, sectionElements } from "./sections.js";
import { view } from "./store.js";
import { Tabs } from "./tabs.js";
import { themeButton } from "./theme.js";

const candidates = view().kind === "run" ? new Candidates() : null;
const tabs = new Tabs(candidates ? runTabs() : reportTabs(), "Parts of the page");
const head = h("div", { class: "hero" });
const state = h("span", { class: "chip chip-live", role: "status", hidden: true });
const help = helpDialog();
const theme = themeButton();

function runTabs() {
  const sections = (name, empty) => () => {
    const found = view()[name];
    return found.length ? sectionElements(found) : h("p", { class: "empty" }, empty);
  };
  return [
    { name: "overview", label: "Overview", make: () => overviewPanel(go) },
    { name: "search", label: "Search tree", make: () => candidates.element, opened: () => candidates.refresh() },
    { name: "criteria", label: "Criteria", make: () => criteriaPanel(go) },
    { name: "held-out", label: "Held-out", make: heldOutPanel },
    { name: "cost", label: "Cost", make: sections("cost", "Nothing has been used yet.") },
    { name: "about", label: "Settings and log", make: sections("about", "Nothing is written down yet.") },
  ];
}

function reportTabs() {
  return view().tabs.map((tab, place) => ({ name: "part-" + place, label: tab.label, make: () => sectionElements(view().tabs[place].sections) }));
}

function go(number) {
  tabs.open("search");
  candidates.go(number);
  candidates.tree.element.focus();
}

function drawHead() {
  const { banner, headline, tone, verdict, gain, facts, title } = view();
  document.title = `${headline}: ${title} · drpo`;
  put(
    head,
    banner ? h("p", { class: "banner" }, banner) : null,
    h("div", { class: "decision tone-" + tone }, h("h1", {}, headline), gain ? gainBar(gain) : null),
    h("p", { class: "verdict" }, verdict),
    factList(facts),
  );
}

function gainBar(gain) {
  const axis = axisOf([gain], { zero: true });
  const range = gain.low === null ? "" : ` ${signed(gain.low)} to ${signed(gain.high)}`;
  return h("div", { class: "gain" }, h("b", {}, signed(gain.mean)), bar(gain, axis, { zero: true }), h("span", { class: "faint" }, range));
}

function keys(event) {
  const typing = event.target.closest("input, textarea, select");
  if (typing || event.altKey || event.ctrlKey || event.metaKey || help.open) return;
  const digit = Number(event.key);
  if (event.key === "/" && candidates) {
    event.preventDefault();
    tabs.open("search");
    candidates.search.input.focus();
  } else if (event.key === "?") help.showModal();
  else if (event.key === "d") theme.click();
  else if (digit >= 1 && digit <= tabs.tabs.length) {
    tabs.open(tabs.tabs[digit - 1].name);
    tabs.tabs[digit - 1].button.focus();
  }
}

function begin() {
  const button = h("button", { type: "button", class: "icon", "aria-label": "Keys", title: "Keys ( ? )", onclick: () => help.showModal() }, "?");
  document.body.append(
    h("a", { class: "skip", href: "#main" }, "Skip to the content"),
    h("header", { class: "top" }, h("span", { class: "brand" }, "drpo"), h("span", { class: "title", dir: "auto" }, view().title), state, h("span", { class: "push" }), theme, button),
    h("main", { id: "main", tabindex: -1 }, head, tabs.list, tabs.panels),
    help,
  );
  drawHead();
  tabs.open(tabs.tabs[0].name);
  document.addEventListener("keydown", keys);
  if (view().live) {
    state.hidden = false;
    follow({
      version: view().version,
      onstate: (text) => (state.textContent = text),
      onnew: () => {
        drawHead();
        tabs.again(["search"]);
        if (candidates) candidates.newer();
      },
    });
  }
  document.documentElement.dataset.ready = "true";
}

begin();
