/** The images as a row of thumbnails, each with its state; click to show one. */
import { $, icon, make } from "./dom.js";

const WORDS = { waiting: "waiting", sending: "sending", working: "working", done: "done", failed: "failed", cancelled: "cancelled" };
const SIDE = 144;

export class Strip {
  constructor(choose) {
    this.choose = choose;
    this.entries = new Map();
  }

  update(item, current) {
    if (item.removed) {
      this.entries.get(item.id)?.entry.remove();
      this.entries.delete(item.id);
      return;
    }
    if (!this.entries.has(item.id)) this.add(item);
    const { button, state } = this.entries.get(item.id);
    const word = item.state === "sending" ? `sending ${Math.floor(item.progress * 100)} %` : WORDS[item.state];
    state.textContent = word;
    button.dataset.state = item.state;
    button.setAttribute("aria-current", item === current);
    button.setAttribute("aria-label", `${item.name}, ${word}`);
  }

  reveal(item) {
    this.entries.get(item.id)?.entry.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  add(item) {
    const canvas = make("canvas", { width: 1, height: 1 });
    const state = make("span", { className: "state" });
    const caption = make("span", { className: "caption", textContent: item.name });
    const button = make("button", { type: "button", className: "thumb", title: item.name }, icon("image"), canvas, caption, state);
    button.addEventListener("click", () => this.choose(item));
    const entry = make("li", {}, button);
    this.entries.set(item.id, { entry, button, state });
    $("thumbs").append(entry);
    draw(canvas, item.file);
  }
}

async function draw(canvas, file) {
  try {
    const small = await createImageBitmap(file, { resizeHeight: SIDE, resizeQuality: "medium" });
    Object.assign(canvas, { width: small.width, height: small.height });
    canvas.getContext("2d").drawImage(small, 0, 0);
    canvas.classList.add("drawn");
    small.close();
  } catch { /* the icon stays: a format that this browser cannot show */ }
}
