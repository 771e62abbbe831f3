/** Zoom and pan of layers that lie on one another in a stage; sizes and places are in pixels of the image. */

const LARGEST_ZOOM = 32;
const LARGEST_FIT = 8;
const STEP = 1.4;
const LINE_PIXELS = 16;
const LARGEST_STEP = 34; // a wheel's notch zooms as the button does

export class Viewer {
  /** `onPoint(spot)` is called with the pixel that is pointed at, or null; `onMove(scale, fits)` after each zoom and move. */
  constructor(stage, { onPoint, onMove }) {
    Object.assign(this, { stage, layers: stage.getElementsByClassName("layer"), onPoint, onMove, width: 1, height: 1, scale: 1, x: 0, y: 0, fits: true });
    this.pointers = new Map();
    new ResizeObserver(() => (this.fits ? this.fit() : this.apply())).observe(stage);
    stage.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    for (const name of ["pointerdown", "pointermove", "pointerup", "pointercancel", "pointerleave"]) {
      stage.addEventListener(name, (event) => this[name](event));
    }
    for (const name of ["gesturestart", "gesturechange"]) stage.addEventListener(name, (event) => this[name](event));
    stage.addEventListener("keydown", (event) => this.keydown(event));
  }

  show(width, height) {
    const same = width === this.width && height === this.height;
    Object.assign(this, { width, height, cursor: null });
    this.stage.style.aspectRatio = `${width} / ${height}`;
    if (same && !this.fits) this.apply();
    else this.fit();
  }

  get fitting() {
    return Math.min(this.stage.clientWidth / this.width, this.stage.clientHeight / this.height, LARGEST_FIT);
  }

  fit() {
    this.scale = this.fitting;
    this.fits = true;
    this.apply();
  }

  /** Zooms so that the image's pixel under (x, y) of the stage stays there; by default the centre. */
  zoom(scale, x = this.stage.clientWidth / 2, y = this.stage.clientHeight / 2) {
    const fitting = this.fitting;
    const target = Math.min(Math.max(scale, Math.min(fitting, 1)), Math.max(LARGEST_ZOOM, fitting));
    const factor = target / this.scale;
    Object.assign(this, { scale: target, x: x - (x - this.x) * factor, y: y - (y - this.y) * factor });
    this.fits = Math.abs(target - fitting) < 1e-6;
    this.apply();
  }

  zoomIn() { this.zoom(this.scale * STEP); }

  zoomOut() { this.zoom(this.scale / STEP < this.fitting && this.scale > this.fitting ? this.fitting : this.scale / STEP); }

  pan(dx, dy) {
    this.x += dx;
    this.y += dy;
    this.apply();
  }

  apply() {
    const [width, height] = [this.width * this.scale, this.height * this.scale];
    const inside = (start, length, space) => (length <= space ? (space - length) / 2 : Math.min(0, Math.max(space - length, start)));
    this.x = inside(this.x, width, this.stage.clientWidth);
    this.y = inside(this.y, height, this.stage.clientHeight);
    for (const { style } of this.layers) {
      style.width = `${width}px`;
      style.height = `${height}px`;
      style.transform = `translate(${this.x}px, ${this.y}px)`;
    }
    this.stage.classList.toggle("pixels", this.scale * devicePixelRatio >= 3);
    this.stage.classList.toggle("movable", width > this.stage.clientWidth + 1 || height > this.stage.clientHeight + 1);
    this.onMove(this.scale, this.fits);
  }

  position(event) {
    const box = this.stage.getBoundingClientRect();
    return [event.clientX - box.left - this.stage.clientLeft, event.clientY - box.top - this.stage.clientTop];
  }

  report(x, y, how) {
    const [column, row] = [Math.floor((x - this.x) / this.scale), Math.floor((y - this.y) / this.scale)];
    const outside = column < 0 || row < 0 || column >= this.width || row >= this.height;
    this.onPoint(outside ? null : { column, row, x, y, how });
  }

  wheel(event) {
    // browsers report a pinch on a touchpad as a wheel with Ctrl; the wheel alone scrolls the page
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    const pixels = event.deltaY * (event.deltaMode === WheelEvent.DOM_DELTA_LINE ? LINE_PIXELS : 1);
    const step = Math.max(-LARGEST_STEP, Math.min(LARGEST_STEP, pixels));
    this.zoom(this.scale * Math.exp(-step / 100), ...this.position(event));
    this.report(...this.position(event), "pointer");
  }

  // Safari reports a pinch on a touchpad so; fingers on the screen are pointers too, which zoom already
  gesturestart(event) {
    event.preventDefault();
    this.scaleBefore = this.scale;
  }

  gesturechange(event) {
    event.preventDefault();
    if (!this.pointers.size) this.zoom(this.scaleBefore * event.scale, ...this.position(event));
  }

  pointerdown(event) {
    if (event.button || event.target.closest("button, input")) return;
    this.pointers.set(event.pointerId, this.position(event));
    this.stage.setPointerCapture(event.pointerId);
    this.report(...this.position(event), "pointer");
  }

  pointermove(event) {
    const at = this.position(event);
    const before = this.pointers.get(event.pointerId);
    if (before) {
      const other = [...this.pointers].find(([id]) => id !== event.pointerId)?.[1];
      if (other) this.pinch(before, at, other);
      else this.pan(at[0] - before[0], at[1] - before[1]);
      this.pointers.set(event.pointerId, at);
    }
    this.report(...at, "pointer");
  }

  pinch(before, at, other) {
    const distance = ([x, y]) => Math.hypot(x - other[0], y - other[1]) || 1;
    this.pan((at[0] - before[0]) / 2, (at[1] - before[1]) / 2);
    this.zoom((this.scale * distance(at)) / distance(before), (at[0] + other[0]) / 2, (at[1] + other[1]) / 2);
  }

  pointerup(event) { this.pointers.delete(event.pointerId); }

  pointercancel(event) { this.pointers.delete(event.pointerId); }

  // a finger that was lifted has left too, and what it pointed at is still to be read
  pointerleave(event) { if (event.pointerType === "mouse" && !this.pointers.size) this.onPoint(null); }

  keydown(event) {
    if (event.target !== this.stage || event.ctrlKey || event.metaKey || event.altKey) return;
    const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const keys = { "+": () => this.zoomIn(), "=": () => this.zoomIn(), "-": () => this.zoomOut(), 0: () => this.fit(), 1: () => this.zoom(1) };
    const arrow = arrows[event.key];
    if (arrow && event.shiftKey) this.pan(-60 * arrow[0], -60 * arrow[1]);
    else if (arrow) this.step(...arrow);
    else if (keys[event.key]) keys[event.key]();
    else if (event.key === "Escape") this.onPoint(null);
    else return;
    event.preventDefault();
  }

  /** Moves the keyboard's cursor by an eighth of an inch or so, and the image where the cursor would leave the stage. */
  step(dx, dy) {
    const length = Math.max(1, Math.round(12 / this.scale));
    const from = this.cursor ?? [
      (this.stage.clientWidth / 2 - this.x) / this.scale - dx * length, (this.stage.clientHeight / 2 - this.y) / this.scale - dy * length,
    ];
    const within = (value, end) => Math.min(end - 1, Math.max(0, Math.floor(value)));
    this.cursor = [within(from[0] + dx * length, this.width), within(from[1] + dy * length, this.height)];
    const spot = () => [(this.cursor[0] + 0.5) * this.scale + this.x, (this.cursor[1] + 0.5) * this.scale + this.y];
    const over = (value, space) => Math.min(0, value - 24) + Math.max(0, value - space + 24);
    this.pan(-over(spot()[0], this.stage.clientWidth), -over(spot()[1], this.stage.clientHeight));
    this.report(...spot(), "keyboard");
  }
}
