/** One file for all photos: a zip, or one COCO document. */
import { joinCoco } from "./coco.js";
import { $, make, save, showStatus } from "./dom.js";
import { fileName, fileOf } from "./downloads.js";
import { FORMATS } from "./formats.js";
import { uniqueNames, zipOf } from "./zip.js";

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

  async function collect(id) {
    const done = items().filter(({ state }) => state === "done");
    const names = uniqueNames(done.map((item) => fileName(item, id)));
    const files = [];
    const failures = [];
    for (const [index, item] of done.entries()) {
      if (!running) return null;
      showStatus(`Making file ${index + 1} of ${done.length} …`);
      try {
        const options = settings(item);
        const picture = options.picture?.confidence ? null : options.picture; // all overlays of a zip show classes
        files.push({ name: names[index], blob: await fileOf(item, id, { ...options, picture }) });
      } catch (error) {
        failures.push(`${item.name}: ${error.title ?? error}. ${error.detail ?? ""}`);
      }
    }
    return { files, failures };
  }

  button.addEventListener("click", async () => {
    running = !running;
    if (!running) return;
    label.textContent = "Stop";
    try {
      const result = await collect($("all-format").value);
      if (!result) showStatus("Stopped. Nothing was saved.");
      else {
        const { files, failures } = result;
        const missing = failures.length ? ` ${plural(failures.length, "photo")} failed: ${failures[0]}` : "";
        if (files.length) {
          const { blob, name } = await joinFiles(files, $("all-format").value);
          save(blob, name);
          showStatus(`${name} is saved, with ${plural(files.length, "photo")}.${missing}`);
        } else showStatus(`Nothing was saved.${missing}`);
      }
    } catch (error) {
      showError(error);
    } finally {
      running = false;
      label.textContent = "Download all";
    }
  });
}
