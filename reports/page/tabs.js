// Tabs, as the ARIA pattern has them: one in the tab order, arrow keys between them; a panel is made when it is opened.

import { h, put } from "./dom.js";

export class Tabs {
  // tabs: [{name, label, make}]; make() returns the panel's content.
  constructor(tabs, label) {
    this.tabs = tabs.map((tab) => ({ ...tab, made: false }));
    this.list = h("div", { role: "tablist", "aria-label": label, class: "tabs" });
    for (const tab of this.tabs) {
      tab.button = h(
        "button",
        { type: "button", role: "tab", id: "tab-" + tab.name, "aria-controls": "panel-" + tab.name, onclick: () => this.open(tab.name) },
        tab.label,
      );
      tab.panel = h("div", { role: "tabpanel", id: "panel-" + tab.name, "aria-labelledby": "tab-" + tab.name, class: "panel", hidden: true });
      this.list.append(tab.button);
    }
    this.list.addEventListener("keydown", (event) => this.key(event));
    this.panels = h("div", { class: "panels" }, this.tabs.map((tab) => tab.panel));
    this.chosen = null;
  }

  open(name) {
    const tab = this.tabs.find((one) => one.name === name) || this.tabs[0];
    for (const one of this.tabs) {
      one.panel.hidden = one !== tab;
      one.button.setAttribute("aria-selected", String(one === tab));
      one.button.tabIndex = one === tab ? 0 : -1;
    }
    this.chosen = tab.name;
    if (!tab.made) {
      tab.made = true;
      put(tab.panel, tab.make());
    }
    if (tab.opened) tab.opened();
  }

  // Make the panels anew: at once the open one, the others when they are opened.
  again(keep = []) {
    for (const tab of this.tabs) if (!keep.includes(tab.name)) tab.made = false;
    this.open(this.chosen);
  }

  key(event) {
    const at = this.tabs.findIndex((tab) => tab.name === this.chosen);
    const moves = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: this.tabs.length - 1 };
    if (!(event.key in moves)) return;
    event.preventDefault();
    const tab = this.tabs[(moves[event.key] + this.tabs.length) % this.tabs.length];
    this.open(tab.name);
    tab.button.focus();
  }
}
