/** The answer of a photo as files: all but its JSON are asked of the service when they are wanted. */
import { segment } from "./api.js";
import { $, save, showStatus, stem } from "./dom.js";
import { FORMATS, segmentQuery } from "./formats.js";
import { VOID, classesOf, isBackground, isNothing } from "./layers.js";
import { firstView, isShownIn } from "./legend.js";
import { Problem } from "./problems.js";

export const fileName = (item, id) => `${stem(item.name)}${FORMATS[id].ending}`;

/** The parameters of a file of the classes that are shown. Throws a `Problem` where none is. */
async function shownParameters(item, id, { opacity, withNames }) {
  const classes = classesOf(JSON.parse(await item.answer.text()));
  if (id === "cutout" && isNothing(classes)) throw new Problem("Nothing to cut out", "The photo has no class but the background.");
  const isShown = isShownIn(item.view ?? firstView(classes));
  // COCO has no annotations of a background: a photo of nothing else is an image without annotations
  const ids = classes.filter((entry) => entry.id !== VOID && (isShown(entry) || (id === "coco" && isBackground(entry)))).map((entry) => entry.id);
  if (!ids.length) throw new Problem("No class is shown", "Show at least one class for this file.");
  const overlay = id === "overlay" ? { alpha: opacity, ...(withNames ? {} : { names: false }) } : {};
  return { ...overlay, classes: ids.join(",") };
}

/** One file of an item's answer, as a blob. `opacity` and `withNames` hold for overlays. `more`: parameters. Throws a `Problem`. */
export async function fileOf(item, id, settings, more = {}) {
  if (id === "json") return item.answer;
  if (id === "confidence" && item.confidence) return item.confidence;
  const shown = FORMATS[id].takesClasses ? await shownParameters(item, id, settings) : {};
  return segment(item.file, segmentQuery(id, item.query, { ...shown, ...more }), settings.key);
}

/** Makes the buttons work that have a format's name in `data-format`. */
export function watchDownloads({ current, settings, showError }) {
  for (const button of document.querySelectorAll("[data-format]")) {
    const id = button.dataset.format;
    button.addEventListener("click", async () => {
      if (button.ariaBusy === "true") return;
      const item = current();
      const name = fileName(item, id);
      button.ariaBusy = "true";
      showStatus(`Making ${name} …`);
      try {
        save(await fileOf(item, id, settings()), name);
        showStatus(`${name} is saved.`);
      } catch (error) {
        showError(error);
      } finally {
        button.ariaBusy = "false";
      }
    });
  }
}
