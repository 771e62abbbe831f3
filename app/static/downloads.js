/** The answer of a photo as files: pictures are asked of the service when they are wanted. */
import { segment } from "./api.js";
import { $, make, save, showStatus, stem } from "./dom.js";
import { FORMATS, segmentQuery } from "./formats.js";
import { Segments, VOID, isBackground, isNothing } from "./layers.js";
import { firstView, isShownIn } from "./legend.js";
import { overlayPicture } from "./overlay.js";
import { photoOf } from "./photo.js";
import { Problem } from "./problems.js";

export const fileName = (item, id) => `${stem(item.name)}${FORMATS[id].ending}`;

/** Where the object of a cut-out lies, from the header `X-Object-Box` (left, top, width, height, or `none`). */
function boxText(header) {
  if (header === "none") return "Nothing is visible in it.";
  const [left, top, width, height] = header.split(",");
  return `The object has ${width} × ${height} pixels, ${left} from the left and ${top} from the top.`;
}

const CONFIDENCE_ENDING = "-confidence-overlay.jpg";

/** The parameter `classes` for what is shown, and for those that are `always` asked for. */
function shownClasses(segments, view, always = () => false) {
  const ids = segments.classes.filter((entry) => isShownIn(view)(entry) || always(entry)).map(({ id }) => id).filter((id) => id !== VOID);
  if (!ids.length) throw new Problem("No class is shown", "Show at least one class for this file.");
  return { classes: ids.join(",") };
}

/** The overlay by the service, where the browser cannot show the photo or cannot make a picture of its size. */
function servedOverlay(item, { segments, view, opacity, withNames, key }) {
  const anyClass = segments.classes.some((entry) => entry.id !== VOID && isShownIn(view)(entry));
  const more = anyClass ? { alpha: opacity, ...shownClasses(segments, view) } : { alpha: 0 };
  return segment(item.file, segmentQuery("overlay", item.query, withNames && anyClass ? more : { ...more, names: false }), key);
}

/** The segments of an item that is not in the viewer. */
const segmentsOf = async (item) => new Segments(JSON.parse(await item.answer.text()));

async function overlayOf(item, { picture, segments, view, opacity, withNames, key }) {
  let layers = picture;
  if (!layers) {
    const colors = make("canvas");
    const outlines = make("canvas");
    segments.paintClasses(colors, isShownIn(view));
    segments.paintOutlines(outlines, isShownIn(view));
    const photo = await photoOf(item.file);
    const fits = photo?.width === segments.width && photo?.height === segments.height;
    layers = { photo: fits ? photo.element : null, segments, colors, outlines, opacity, isShown: withNames ? isShownIn(view) : null };
  }
  const blob = layers.photo && (await overlayPicture(layers));
  if (!blob && picture?.confidence) {
    throw new Problem("No overlay of the confidence", "This browser cannot make the picture. Switch Confidence off, or download the file Confidence.");
  }
  return blob ?? servedOverlay(item, { segments, view, opacity, withNames, key });
}

/**
 * One file of an item's answer, as a blob. `picture` is what the stage shows, where it shows this item; `opacity` and
 * `withNames` hold for overlays; `onHeaders` gets the headers of an answer for the classes that are shown. Throws a `Problem`.
 */
export async function fileOf(item, id, { picture = null, opacity, withNames, key, onHeaders }) {
  if (id === "json") return item.answer;
  if (id === "confidence" && item.confidence) return item.confidence;
  if (!FORMATS[id].takesClasses) return segment(item.file, segmentQuery(id, item.query), key);
  const segments = picture?.segments ?? (await segmentsOf(item));
  const view = item.view ?? firstView(segments.classes);
  if (id === "overlay") return overlayOf(item, { picture, segments, view, opacity, withNames, key });
  if (id === "cutout" && isNothing(segments.classes)) {
    throw new Problem("Nothing to cut out", "The photo has no class but the background.");
  }
  // COCO has no annotations of a background: a photo of nothing else is an image without annotations
  const classes = shownClasses(segments, view, id === "coco" ? isBackground : undefined);
  return segment(item.file, segmentQuery(id, item.query, classes), key, onHeaders);
}

/** Makes the buttons work that have a format's name in `data-format`. */
export function watchDownloads({ current, settings, showError }) {
  for (const button of document.querySelectorAll("[data-format]")) {
    const id = button.dataset.format;
    button.addEventListener("click", async () => {
      if (button.ariaBusy === "true") return;
      const item = current();
      const options = settings(item);
      const name = id === "overlay" && options.picture?.confidence ? `${stem(item.name)}${CONFIDENCE_ENDING}` : fileName(item, id);
      button.ariaBusy = "true";
      showStatus(`Making ${name} …`);
      let box = null;
      const onHeaders = (headers) => { box = headers.get("X-Object-Box"); };
      try {
        save(await fileOf(item, id, { ...options, onHeaders }), name);
        showStatus(`${name} is saved.${box ? ` ${boxText(box)}` : ""}`);
      } catch (error) {
        showError(error);
      } finally {
        button.ariaBusy = "false";
      }
    });
  }
}
