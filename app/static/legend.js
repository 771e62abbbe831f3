/** The classes of an answer: click one to see it alone, or hide it by its eye. */
import { $, icon, make, percent } from "./dom.js";

/** Which classes are shown at first: all but those that would only darken the photo. */
export const firstView = (classes) => ({ only: null, hidden: new Set(classes.filter(({ clear }) => clear).map(({ id }) => id)) });

export const isShownIn = ({ only, hidden }) => ({ id }) => (only === null ? !hidden.has(id) : id === only);

export class Legend {
  constructor(onChange) {
    Object.assign(this, { onChange, classes: [], rows: new Map(), view: firstView([]) });
    $("show-all").addEventListener("click", () => {
      Object.assign(this.view, { only: null, hidden: new Set() });
      this.update();
      $("classes").querySelector(".alone").focus();
    });
  }

  /** `view` says which classes are shown, and keeps what the user chooses. The focus stays on its class, or goes to the first. */
  show(classes, view) {
    const active = document.activeElement;
    const focused = [...this.rows].find(([, { item }]) => item.contains(active))?.[0];
    Object.assign(this, { classes, view });
    const widest = Math.max(...classes.map((entry) => entry.fraction), 1e-9);
    this.rows = new Map(classes.map((entry) => [entry.id, this.row(entry, widest)]));
    $("classes").replaceChildren(...[...this.rows.values()].map((row) => row.item));
    this.update();
    if (focused === undefined) return;
    const { alone, eye } = this.rows.get(focused) ?? this.rows.get(classes[0].id);
    (active.className === eye.className ? eye : alone).focus({ preventScroll: true });
  }

  row(entry, widest) {
    const swatch = make("span", { className: "swatch" });
    swatch.style.backgroundColor = entry.color;
    const bar = make("span", { className: "bar" }, make("span"));
    bar.firstChild.style.width = `${Math.max(1, (entry.fraction / widest) * 100)}%`;
    bar.firstChild.style.backgroundColor = entry.color;
    const confidence = entry.mean_confidence;
    const alone = make(
      "button", { type: "button", className: "alone", title: `Show ${entry.name} alone` }, swatch,
      make("span", { className: "name", textContent: entry.name }),
      make("span", { className: "share", textContent: percent(entry.fraction, 1) }),
      make("span", { className: "sure", textContent: confidence == null ? "" : `${percent(confidence)} sure` }),
      bar,
    );
    const eye = make("button", { type: "button", className: "eye" }, icon("eye"));
    eye.setAttribute("aria-label", `Colour ${entry.name}`);
    alone.addEventListener("click", () => this.isolate(entry.id));
    eye.addEventListener("click", () => this.toggle(entry.id));
    return { item: make("li", {}, alone, eye), alone, eye };
  }

  isShown = (entry) => isShownIn(this.view)(entry);

  isolate(id) {
    this.view.only = this.view.only === id ? null : id;
    this.update();
  }

  toggle(id) {
    const { view } = this;
    if (view.only !== null) {
      view.hidden = new Set(this.classes.map((entry) => entry.id).filter((other) => other !== view.only));
      view.only = null;
    }
    if (!view.hidden.delete(id)) view.hidden.add(id);
    this.update();
  }

  update() {
    for (const entry of this.classes) {
      const { item, alone, eye } = this.rows.get(entry.id);
      const visible = this.isShown(entry);
      item.classList.toggle("off", !visible);
      alone.setAttribute("aria-pressed", this.view.only === entry.id);
      eye.setAttribute("aria-pressed", visible);
      eye.title = `${visible ? "Hide" : "Show"} the colour of ${entry.name}`;
      eye.replaceChildren(icon(visible ? "eye" : "eye-off"));
    }
    $("show-all").hidden = $("classes").hidden || this.classes.every(this.isShown);
    this.onChange();
  }

  /** Marks the class that is pointed at. */
  point(id) {
    for (const [other, { item }] of this.rows) item.classList.toggle("here", other === id);
  }
}
