/** Small helpers for elements, texts and files. */

export const $ = (id) => document.getElementById(id);

/** An element with these properties and children; strings become text, never markup. */
export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

/** Shows a text in the status bar; screen readers read it aloud. */
export function showStatus(text) {
  $("status").textContent = text;
}

export const percent = (fraction, digits = 0) => `${(fraction * 100).toFixed(digits)} %`;

export function save(blob, name) {
  const url = URL.createObjectURL(blob);
  make("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

export const stem = (name) => name.replace(/\.[^.]+$/, "") || "image";

let lastFocused = null;
document.addEventListener("focusin", (event) => { lastFocused = event.target; });

/** Moves the focus to the first visible one of `elements` if the element that had it is hidden or gone. */
export function keepFocus(...elements) {
  if (!lastFocused || lastFocused.checkVisibility({ visibilityProperty: true })) return;
  elements.find((element) => element?.checkVisibility())?.focus({ preventScroll: true });
}
