/** The photos as a row of thumbnails, each with its state; click to show one. */
import { $, icon, make } from "./dom.js";
import { thumbnailOf } from "./photo.js";

const SIDE = 144;

function stateText({ state, progress, problem }) {
  if (state === "sending") return `sending ${Math.floor(progress * 100)} %`;
  return state === "failed" && problem.status === 401 ? "needs a key" : state;
}

export class Thumbnails {
  constructor(choose) {
    Object.assign(this, { choose, entries: new Map() });
  }

  /** The button of an item, or undefined. */
  button(item) {
    return this.entries.get(item?.id)?.button;
  }

  update(item, current) {
    if (item.removed) {
      this.entries.get(item.id)?.entry.remove();
      this.entries.delete(item.id);
      return;
    }
    if (!this.entries.has(item.id)) this.add(item);
    const { button, state } = this.entries.get(item.id);
    const text = stateText(item);
    state.textContent = text;
    button.dataset.state = item.state;
    button.setAttribute("aria-current", item === current);
    button.setAttribute("aria-label", `${item.name}, ${text}`);
  }

  reveal(item) {
    this.entries.get(item.id)?.entry.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  add(item) {
    const state = make("span", { className: "state" });
    const caption = make("span", { className: "caption", textContent: item.name });
    const button = make("button", { type: "button", className: "thumb", title: item.name }, icon("image"), caption, state);
    button.addEventListener("click", () => this.choose(item));
    const entry = make("li", {}, button);
    this.entries.set(item.id, { entry, button, state });
    $("thumbs").append(entry);
    // without a thumbnail the icon stays: a format that this browser cannot show
    thumbnailOf(item.file, SIDE).then((canvas) => canvas && caption.before(canvas));
  }
}
