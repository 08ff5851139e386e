// Light and dark: as the system says, until the button is pressed; the choice lasts as long as the page is open.

import { h } from "./dom.js";

export function themeButton() {
  const dark = () => {
    const set = document.documentElement.dataset.theme;
    return set ? set === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  };
  const button = h("button", { type: "button", class: "icon", onclick: () => change() });
  function say() {
    button.textContent = dark() ? "☀" : "☾";
    button.title = dark() ? "Light colours" : "Dark colours";
    button.setAttribute("aria-label", button.title);
  }
  function change() {
    document.documentElement.dataset.theme = dark() ? "light" : "dark";
    say();
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", say);
  say();
  return button;
}
