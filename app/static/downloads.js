/** The answer as files: JSON as it came; pictures are asked of the server when wanted. */
import { ask } from "./api.js";
import { $, save, say, stem } from "./dom.js";

const FORMS = {
  mask: { format: "png", file: "mask" },
  color: { format: "color", file: "color" },
  overlay: { format: "overlay", file: "overlay" },
};

export function watchDownloads({ current, key, alpha, refuse }) {
  $("json").addEventListener("click", () => {
    const item = current();
    save(new Blob([item.answer], { type: "application/json" }), `${stem(item.name)}.json`);
  });
  for (const [id, { format, file }] of Object.entries(FORMS)) {
    const button = $(id);
    button.addEventListener("click", async () => {
      if (button.ariaBusy === "true") return;
      const item = current();
      const query = `format=${format}${format === "overlay" ? `&alpha=${alpha()}` : ""}${item.query && `&${item.query}`}`;
      button.ariaBusy = "true";
      say(`Asking for the ${file} of ${item.name}.`);
      try {
        save(await ask(item.file, query, key()), `${stem(item.name)}-${file}.png`);
        say(`${stem(item.name)}-${file}.png is saved.`);
      } catch (problem) {
        refuse(problem);
      } finally {
        button.ariaBusy = "false";
      }
    });
  }
}
