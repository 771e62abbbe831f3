/** The line between the photo (left) and its classes (right): the thumb of a slider that lies over the stage. */
export class Divider {
  constructor(stage, slider, upperLayer, onMove) {
    Object.assign(this, { stage, slider, upperLayer, onMove, allowed: true });
    slider.addEventListener("input", () => this.show());
    slider.addEventListener("pointermove", (event) => event.stopPropagation()); // no pixel is read below it
    this.show();
  }

  get value() { return Number(this.slider.value); }

  show() {
    this.slider.setAttribute("aria-valuetext", `${this.value} % photo`);
    this.upperLayer.style.clipPath = this.allowed ? `inset(0 0 0 ${this.value}%)` : "none";
    this.stage.classList.toggle("no-before", this.value < 14);
    this.stage.classList.toggle("no-after", this.value > 86);
    this.onMove();
  }

  /** Without a photo beneath there is nothing to compare with. */
  allow(allowed) {
    this.allowed = allowed;
    this.slider.hidden = !allowed;
    this.show();
  }
}
