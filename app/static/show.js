/** One image in the viewer: its photo at once, its classes when they come, or what went wrong. */
import { $, percent, say } from "./dom.js";
import { Divider } from "./divider.js";
import { Segments, photoOf } from "./layers.js";
import { Legend } from "./legend.js";
import { showSnippets } from "./snippets.js";
import { Viewer } from "./viewer.js";

const CANNOT = "This browser cannot show this kind of picture, so its classes are drawn without it.";

export class Show {
  /** `confidenceOf(item)` gives the grey picture of an item's confidence, or null after it has told why there is none. */
  constructor(confidenceOf) {
    this.confidenceOf = confidenceOf;
    this.item = null;
    this.wanted = null;
    this.legend = new Legend(() => this.paint());
    this.divider = new Divider($("stage"), $("divider"), $("after"));
    this.viewer = new Viewer($("stage"), {
      point: (spot) => this.read(spot),
      zoomed: (scale, fits) => {
        $("scale").textContent = percent(scale);
        $("fit").setAttribute("aria-pressed", fits);
      },
    });
    const buttons = { closer: () => this.viewer.closer(), farther: () => this.viewer.farther(), fit: () => this.viewer.fit(), full: () => this.viewer.zoom(1) };
    for (const [id, act] of Object.entries(buttons)) $(id).addEventListener("click", act);
    $("opacity").addEventListener("input", () => this.fade());
    $("sure").addEventListener("click", () => this.lookAtConfidence($("sure").getAttribute("aria-pressed") !== "true"));
    this.fade();
  }

  fade() {
    $("colors").style.opacity = this.seen === null ? 1 : $("opacity").value / 100;
    $("opacity-value").textContent = `${$("opacity").value} %`;
  }

  paint() {
    const unsure = $("sure").getAttribute("aria-pressed") === "true";
    $("after-tag").textContent = unsure ? "Unsure" : "Classes";
    if (unsure) this.segments?.paintUnsure($("colors"));
    else this.segments?.paint($("colors"), this.legend.isShown);
  }

  /** Confidence in place of the classes' colours; it is asked of the service when it is looked at first. */
  async lookAtConfidence(wanted) {
    const { item, segments } = this;
    if (wanted && !segments?.grey) {
      $("sure").ariaBusy = "true";
      const picture = await this.confidenceOf(item);
      if (picture && segments) await segments.read(picture);
      $("sure").ariaBusy = "false";
      if (segments !== this.segments) return;
    }
    $("sure").setAttribute("aria-pressed", Boolean(wanted && segments?.grey));
    this.paint();
  }

  /** Shows the item, or what changed of the one that is shown. */
  show(item) {
    const fresh = item !== this.item;
    this.item = item;
    this.state(item);
    if (fresh) this.photoShown = this.photo(item);
    else if (item.answer === this.wanted) return;
    Object.assign(this, { wanted: item.answer, segments: null });
    this.read(null);
    $("sure").setAttribute("aria-pressed", false);
    $("result").hidden = $("code").hidden = true;
    $("stage").classList.remove("segmented");
    if (item.answer) this.classes(item);
  }

  async photo(item) {
    this.seen = undefined;
    $("photo").classList.add("blank");
    const image = await photoOf(item.file);
    if (item !== this.item) return;
    if (image) {
      $("photo").replaceWith(Object.assign(image, { id: "photo", className: "layer", alt: "" }));
      this.viewer.show(image.naturalWidth, image.naturalHeight);
    }
    this.seen = image && { width: image.naturalWidth, height: image.naturalHeight };
  }

  async classes(item) {
    const wanted = item.answer;
    const [text] = await Promise.all([wanted.text(), this.photoShown]);
    const answer = JSON.parse(text);
    const segments = new Segments(answer);
    if (item !== this.item || wanted !== this.wanted) return;
    const { width, height } = answer.image;
    const fits = this.seen?.width === width && this.seen?.height === height;
    if (!fits) this.seen = null;
    $("photo").classList.toggle("blank", !fits);
    $("photo-note").textContent = fits ? "" : CANNOT;
    $("photo-note").hidden = fits;
    this.segments = segments;
    this.divider.allow(fits);
    this.fade();
    this.legend.show(answer.classes);
    this.viewer.show(width, height);
    $("stage").classList.add("segmented");
    $("result").hidden = $("code").hidden = false;
    $("answer-model").textContent = answer.model.name;
    showSnippets(item);
    const count = answer.classes.length;
    say(`${item.name}: ${width} × ${height} pixels, ${count} ${count === 1 ? "class" : "classes"}.`);
  }

  state({ state, progress, problem, name }) {
    const busy = ["waiting", "sending", "working"].includes(state);
    $("busy").hidden = !busy;
    $("problem").hidden = busy || state === "done";
    $("view").hidden = state === "failed" || state === "cancelled";
    if (busy) {
      const words = { waiting: "Waiting for its turn", sending: `Sending, ${Math.floor(progress * 100)} %`, working: "Working: each pixel gets its class" };
      $("busy-text").textContent = words[state];
      if (state === "sending") $("progress").value = progress;
      else $("progress").removeAttribute("value");
      if (state === "working") say(`Segmenting ${name} …`);
    }
    if (state === "cancelled") this.refuse({ title: "Cancelled", detail: "Nothing was kept of it.", status: 0 }, name);
    if (state === "failed") this.refuse(problem, name);
  }

  refuse({ title, detail, status, retryAfter }, name) {
    const wait = retryAfter ? ` It asks to be tried again in ${retryAfter} ${retryAfter === 1 ? "second" : "seconds"}.` : "";
    $("problem-name").textContent = name;
    $("problem-title").textContent = title;
    $("problem-detail").textContent = detail + wait;
    $("problem").classList.toggle("mild", title === "Cancelled");
    $("retry").hidden = [401, 413, 415].includes(status);
    say(`${name}: ${title}. ${detail}${wait}`);
  }

  read(spot) {
    const found = spot && this.segments?.at(spot.column, spot.row);
    $("reading").hidden = $("spot").hidden = !found;
    this.legend.point(found ? found.entry.id : null);
    if (!found) return;
    const sure = found.confidence === null ? "" : percent(found.confidence);
    $("reading-swatch").style.backgroundColor = found.entry.color;
    $("reading-name").textContent = found.entry.name;
    $("reading-sure").textContent = sure;
    const left = Math.min(spot.x + 14, $("stage").clientWidth - $("reading").offsetWidth - 6);
    const top = spot.y > 60 ? spot.y - 44 : spot.y + 22;
    $("reading").style.transform = `translate(${Math.max(6, left)}px, ${top}px)`;
    $("spot").hidden = spot.how !== "keyboard";
    $("spot").style.transform = `translate(${spot.x}px, ${spot.y}px)`;
    if (spot.how === "keyboard") $("spoken").textContent = `${found.entry.name}${sure && `, ${sure}`}; column ${spot.column}, row ${spot.row}`;
  }
}
