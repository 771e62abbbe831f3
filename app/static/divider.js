/** The line between the photo (left) and its classes (right): dragged, or moved by arrow keys. */
export class Divider {
  constructor(stage, handle, upperLayer, onMove) {
    Object.assign(this, { stage, handle, upperLayer, onMove, allowed: true });
    this.set(50);
    handle.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      event.stopPropagation();
      handle.focus();
      handle.setPointerCapture(event.pointerId);
    });
    handle.addEventListener("pointermove", (event) => {
      if (!handle.hasPointerCapture(event.pointerId)) return;
      event.stopPropagation();
      const box = stage.getBoundingClientRect();
      this.set(((event.clientX - box.left) / box.width) * 100);
    });
    handle.addEventListener("keydown", (event) => {
      const step = event.shiftKey ? 10 : 2;
      const moves = {
        ArrowLeft: this.value - step, ArrowDown: this.value - step, ArrowRight: this.value + step, ArrowUp: this.value + step,
        PageDown: this.value - 20, PageUp: this.value + 20, Home: 0, End: 100,
      };
      if (!(event.key in moves)) return;
      event.preventDefault();
      this.set(moves[event.key]);
    });
  }

  set(value) {
    this.value = Math.min(100, Math.max(0, value));
    this.handle.style.left = `${this.value}%`;
    this.upperLayer.style.clipPath = `inset(0 0 0 ${this.value}%)`;
    this.handle.setAttribute("aria-valuenow", Math.round(this.value));
    this.handle.setAttribute("aria-valuetext", `${Math.round(this.value)} % photo`);
    this.stage.classList.toggle("no-before", this.value < 14);
    this.stage.classList.toggle("no-after", this.value > 86);
    this.onMove();
  }

  /** Without a photo beneath there is nothing to compare with. */
  allow(allowed) {
    this.allowed = allowed;
    this.handle.hidden = !allowed;
    this.upperLayer.style.clipPath = allowed ? `inset(0 0 0 ${this.value}%)` : "none";
  }
}
