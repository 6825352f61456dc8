// What the other scripts share, and the button for dark and light; without it the page follows the system.
"use strict";
window.ganglion = {
  viewers: [],
  onTheme: [],
  make: (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    Object.entries(attributes).forEach(([name, value]) => element.setAttribute(name, value));
    element.append(...children);
    return element;
  },
};
{
  const root = document.documentElement;
  const button = document.getElementById("theme");
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const dark = () => (root.dataset.theme ?? (system.matches ? "dark" : "light")) === "dark";
  const changed = () => {
    button.textContent = dark() ? "Light" : "Dark";
    button.setAttribute("aria-label", `Show the page ${dark() ? "light" : "dark"}`);
    window.ganglion.onTheme.forEach((listener) => listener());
  };
  // A custom property keeps its light-dark() as written; an element that uses it has the colour.
  const probe = document.createElement("span");
  probe.hidden = true;
  document.body.append(probe);
  window.ganglion.colour = (name) => {
    probe.style.color = `var(--${name})`;
    return getComputedStyle(probe).color;
  };
  button.hidden = false;
  button.addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    changed();
  });
  system.addEventListener("change", changed);
  changed();
}
