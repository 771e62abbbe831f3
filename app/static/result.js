/** One photo in the viewer: the photo at once, its classes when they come, or what went wrong. */
import { drawScale } from "./colors.js";
import { Divider } from "./divider.js";
import { $, percent, showStatus } from "./dom.js";
import { Segments, greyOf, isBackground, isNothing } from "./layers.js";
import { watchCutout } from "./formats.js";
import { Legend, firstView } from "./legend.js";
import { Names } from "./names.js";
import { imageOf, photoOf } from "./photo.js";
import { showReading } from "./reading.js";
import { showState } from "./states.js";
import { showSnippets, watchFormat } from "./snippets.js";
import { Viewer } from "./viewer.js";

const CANNOT = "This browser cannot show this file format. You see the classes without the photo.";
const isPressed = (id) => $(id).getAttribute("aria-pressed") === "true";

export class Result {
  /** `confidenceOf(item)` and `cutoutOf(item)` give pictures of an item, or null after they have shown why there is none. */
  constructor({ confidenceOf, cutoutOf }) {
    Object.assign(this, { confidenceOf, cutoutOf, item: null, answer: null, segments: null, shownPhoto: null });
    this.legend = new Legend(() => {
      this.paint();
      this.changeCutout();
    });
    watchFormat(() => this.showCode());
    watchCutout(() => this.changeCutout());
    this.viewer = new Viewer($("stage"), {
      onPoint: (spot) => this.read(spot),
      onMove: (scale, fits) => {
        $("scale").textContent = percent(scale);
        $("fit").setAttribute("aria-pressed", fits);
        this.names?.place();
      },
    });
    this.divider = new Divider($("stage"), $("divider"), $("after"), () => this.names?.place());
    this.names = new Names($("names-layer"), this.viewer, this.divider);
    const buttons = { "zoom-in": () => this.viewer.zoomIn(), "zoom-out": () => this.viewer.zoomOut(), fit: () => this.viewer.fit(), full: () => this.viewer.zoom(1) };
    for (const [id, act] of Object.entries(buttons)) $(id).addEventListener("click", act);
    $("opacity").addEventListener("input", () => this.fade());
    $("sure").addEventListener("click", () => this.showConfidence(!isPressed("sure")));
    $("cut").addEventListener("click", () => this.showCutout(!isPressed("cut")));
    $("names").addEventListener("click", () => {
      $("names").setAttribute("aria-pressed", !isPressed("names"));
      this.paint();
    });
    drawScale($("heat"));
    this.fade();
  }

  get opacity() { return $("opacity").value / 100; }

  get withNames() { return isPressed("names"); }

  fade() {
    $("colors").style.opacity = this.shownPhoto ? this.opacity : 1;
    $("opacity-value").textContent = `${$("opacity").value} %`;
  }

  paint() {
    const [confidence, cutout] = ["sure", "cut"].map(isPressed);
    $("after-tag").textContent = confidence ? "Confidence" : cutout ? "Cut-out" : "Classes";
    $("heat-scale").hidden = !confidence;
    $("preview").hidden = !cutout;
    $("names").disabled = confidence || cutout; // names are of the classes' colours
    if (!this.segments) return;
    $("outlines").hidden = confidence;
    if (confidence) this.segments.paintConfidence($("colors"));
    else {
      this.segments.paintClasses($("colors"), this.legend.isShown);
      this.segments.paintOutlines($("outlines"), this.legend.isShown);
    }
    this.names.show(this.segments, (entry) => !$("names").disabled && this.withNames && this.legend.isShown(entry));
  }

  /** Confidence in place of the classes' colours; the service is asked for it when it is first shown. */
  async showConfidence(visible) {
    const { item, segments } = this;
    if (visible && !segments?.grey) {
      $("sure").ariaBusy = "true";
      const picture = await this.confidenceOf(item);
      if (picture && segments) segments.grey = await greyOf(picture, segments.map);
      $("sure").ariaBusy = "false";
      if (segments !== this.segments) return;
    }
    $("sure").setAttribute("aria-pressed", Boolean(visible && segments?.grey));
    if (isPressed("sure")) this.showCutout(false);
    else this.paint();
  }

  /** The cut-out in place of the classes' colours; the service is asked for it each time. The last call counts. */
  async showCutout(visible) {
    const turn = (this.turn = {});
    $("cut").ariaBusy = visible;
    const picture = visible && this.segments ? await this.cutoutOf(this.item) : null;
    const image = picture && (await imageOf(picture));
    if (turn !== this.turn) return;
    $("cut").ariaBusy = "false";
    $("cut").setAttribute("aria-pressed", Boolean(image));
    if (image) {
      Object.assign(image, { id: "preview", className: "layer", alt: "The cut-out" });
      $("preview").replaceWith(image);
      $("sure").setAttribute("aria-pressed", false);
      this.viewer.apply();
    }
    this.paint();
  }

  /** What is cut out, or its form, has changed. */
  changeCutout() {
    this.showCode();
    if (isPressed("cut")) this.showCutout(true);
  }

  /** Shows the item, or what changed of the one that is shown. A former result stays until the next one is ready. */
  show(item) {
    const fresh = item !== this.item;
    this.item = item;
    showState(item);
    if (!fresh && item.answer === this.answer) return;
    this.answer = item.answer;
    if (fresh) {
      this.clear();
      this.photoReady = this.showPhoto(item);
    }
    if (item.answer) this.showClasses(item);
  }

  clear() {
    this.segments = null;
    this.read(null);
    $("sure").setAttribute("aria-pressed", false);
    this.showCutout(false);
    this.names.show({ regions: [] });
    $("result").hidden = $("code").hidden = true;
    $("stage").classList.remove("segmented");
  }

  async showPhoto(item) {
    this.shownPhoto = null;
    $("photo").classList.add("blank");
    const photo = await photoOf(item.file);
    if (item !== this.item) return;
    this.shownPhoto = photo;
    if (!photo) return;
    Object.assign(photo.element, { id: "photo", className: "layer photo" });
    if (photo.element.tagName === "IMG") photo.element.alt = "";
    $("photo").replaceWith(photo.element);
    this.viewer.show(photo.width, photo.height);
  }

  async showClasses(item) {
    const { answer: blob } = item;
    const [text] = await Promise.all([blob.text(), this.photoReady]);
    const answer = JSON.parse(text);
    const segments = new Segments(answer);
    if (item !== this.item || blob !== this.answer) return;
    const { width, height } = answer.image;
    const fits = this.shownPhoto?.width === width && this.shownPhoto?.height === height;
    if (!fits) this.shownPhoto = null;
    $("photo").classList.toggle("blank", !fits);
    $("photo-note").textContent = fits ? "" : CANNOT;
    $("photo-note").hidden = fits;
    this.segments = segments;
    this.read(null);
    $("sure").setAttribute("aria-pressed", false);
    this.divider.allow(fits);
    this.fade();
    this.viewer.show(width, height);
    item.view ??= firstView(segments.classes);
    $("classes").hidden = $("legend-help").hidden = segments.classes.every(isBackground);
    this.legend.show(segments.classes, item.view);
    const nothing = isNothing(segments.classes);
    $("nothing").hidden = !nothing;
    $("known-part").classList.toggle("asked", nothing);
    $("stage").classList.add("segmented");
    $("result").hidden = $("code").hidden = false;
    $("answer-model").textContent = answer.model.name;
    const count = answer.classes.length;
    const summary = nothing ? "none of the model’s classes was found" : `${count} ${count === 1 ? "class" : "classes"}`;
    showStatus(`${item.name}: ${width} × ${height} pixels, ${summary}.`);
  }

  /** The programs that ask for what is shown. */
  showCode() {
    if (this.segments) showSnippets(this.item, this.segments.classes);
  }

  /** Reads the pixel that is pointed at, or none. */
  read(spot) {
    const pixel = spot && this.segments?.at(spot.column, spot.row);
    this.legend.point(pixel ? pixel.entry.id : null);
    showReading(spot, pixel);
  }
}
