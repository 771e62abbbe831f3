/** Small helpers for elements, texts and files. */

export const $ = (id) => document.getElementById(id);

/** An element with these properties and children; strings become text, never markup. */
export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/** An icon, made as the page's own are. */
export function icon(name) {
  const svg = document.querySelector("svg.icon").cloneNode(true);
  svg.firstChild.setAttribute("href", `#i-${name}`);
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
