/** One file for all photos: a zip, or one COCO document. */
import { $, make, save, showStatus } from "./dom.js";
import { fileName, fileOf } from "./downloads.js";
import { FORMATS } from "./formats.js";
import { Problem } from "./problems.js";
import { uniqueNames, zipOf } from "./zip.js";

/** One COCO document from those of several images: ids are counted anew, equal names told apart; all have the same categories. */
function joinCoco(documents) {
  const categories = documents[0]?.categories ?? [];
  const images = [];
  const annotations = [];
  for (const document of documents) {
    if (JSON.stringify(document.categories) !== JSON.stringify(categories)) {
      throw new Problem("No single COCO file", "The models of these photos have different classes. Run the photos again with one model.");
    }
    const ids = new Map();
    for (const image of document.images) {
      ids.set(image.id, images.length + 1);
      images.push({ ...image, id: images.length + 1 });
    }
    for (const annotation of document.annotations) {
      annotations.push({ ...annotation, id: annotations.length + 1, image_id: ids.get(annotation.image_id) });
    }
  }
  uniqueNames(images.map((image) => image.file_name)).forEach((name, at) => { images[at].file_name = name; });
  return { ...documents[0], images, categories, annotations };
}

async function joinFiles(files, id) {
  if (id !== "coco") return { blob: await zipOf(files), name: `segmented-${id}.zip` };
  const documents = await Promise.all(files.map(async ({ blob }) => JSON.parse(await blob.text())));
  return { blob: new Blob([JSON.stringify(joinCoco(documents))], { type: "application/json" }), name: "segmented-coco.json" };
}

const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;

/** Makes the button of all photos work. A second click stops it. */
export function watchArchive({ items, settings, showError }) {
  const button = $("all");
  const label = button.querySelector("span");
  $("all-format").append(...Object.entries(FORMATS).map(([id, { title }]) =>
    make("option", { value: id, textContent: id === "coco" ? "COCO, one file" : title })));
  let running = false;

  /** Saves the file of all photos; gives what to say of it. */
  async function collect(id) {
    const done = items().filter(({ state }) => state === "done");
    const names = uniqueNames(done.map((item) => fileName(item, id)));
    const files = [];
    const failures = [];
    for (const [index, item] of done.entries()) {
      if (!running) return "Stopped. Nothing was saved.";
      showStatus(`Making file ${index + 1} of ${done.length} …`);
      try {
        files.push({ name: names[index], blob: await fileOf(item, id, settings()) });
      } catch (error) {
        failures.push(`${item.name}: ${error.title ?? error}. ${error.detail ?? ""}`);
      }
    }
    const missing = failures.length ? ` ${plural(failures.length, "photo")} failed: ${failures[0]}` : "";
    if (!files.length) return `Nothing was saved.${missing}`;
    const { blob, name } = await joinFiles(files, id);
    save(blob, name);
    return `${name} is saved, with ${plural(files.length, "photo")}.${missing}`;
  }

  button.addEventListener("click", async () => {
    running = !running;
    if (!running) return;
    label.textContent = "Stop";
    try {
      showStatus(await collect($("all-format").value));
    } catch (error) {
      showError(error);
    } finally {
      running = false;
      label.textContent = "Download all";
    }
  });
}
