/** The classes of an answer: click one to see it alone, or hide it by its eye. */
import { $, icon, make, percent } from "./dom.js";
import { isClear } from "./layers.js";

export class Legend {
  constructor(changed) {
    this.changed = changed;
    this.classes = [];
    $("show-all").addEventListener("click", () => this.reset(true));
  }

  show(classes) {
    this.classes = classes;
    const widest = Math.max(...classes.map((entry) => entry.fraction), 1e-9);
    this.rows = new Map(classes.map((entry) => [entry.id, this.row(entry, widest)]));
    $("classes").replaceChildren(...[...this.rows.values()].map((row) => row.item));
    this.reset(false);
  }

  row(entry, widest) {
    const swatch = make("span", { className: "swatch" });
    swatch.style.backgroundColor = entry.color;
    const bar = make("span", { className: "bar" }, make("span"));
    bar.firstChild.style.width = `${Math.max(1, (entry.fraction / widest) * 100)}%`;
    bar.firstChild.style.backgroundColor = entry.color;
    const sure = entry.mean_confidence;
    const alone = make(
      "button", { type: "button", className: "alone", title: `Show ${entry.name} alone` }, swatch,
      make("span", { className: "name", textContent: entry.name }),
      make("span", { className: "share", textContent: percent(entry.fraction, 1) }),
      make("span", { className: "sure", textContent: sure == null ? "" : `${percent(sure)} sure` }),
      bar,
    );
    const eye = make("button", { type: "button", className: "eye" }, icon("eye"));
    eye.setAttribute("aria-label", `Colour ${entry.name}`);
    alone.addEventListener("click", () => this.isolate(entry.id));
    eye.addEventListener("click", () => this.toggle(entry.id));
    return { item: make("li", {}, alone, eye), alone, eye };
  }

  isShown = (entry) => (this.only === null ? !this.hidden.has(entry.id) : entry.id === this.only);

  /** As at first, where what is clear stays so; or really all. */
  reset(all) {
    this.only = null;
    this.hidden = new Set(all ? [] : this.classes.filter(isClear).map((entry) => entry.id));
    this.update();
  }

  isolate(id) {
    this.only = this.only === id ? null : id;
    this.update();
  }

  toggle(id) {
    if (this.only !== null) {
      this.hidden = new Set(this.classes.map((entry) => entry.id).filter((other) => other !== this.only));
      this.only = null;
    }
    if (!this.hidden.delete(id)) this.hidden.add(id);
    this.update();
  }

  update() {
    for (const entry of this.classes) {
      const { item, alone, eye } = this.rows.get(entry.id);
      const shown = this.isShown(entry);
      item.classList.toggle("off", !shown);
      alone.setAttribute("aria-pressed", this.only === entry.id);
      eye.setAttribute("aria-pressed", shown);
      eye.title = `${shown ? "Hide" : "Show"} the colour of ${entry.name}`;
      eye.replaceChildren(icon(shown ? "eye" : "eye-off"));
    }
    $("show-all").hidden = this.classes.every(this.isShown);
    this.changed();
  }

  /** Marks the class that is pointed at. */
  point(id) {
    for (const [other, { item }] of this.rows ?? []) item.classList.toggle("here", other === id);
  }
}
