/** The answer as files: JSON as it came; pictures are asked of the server when wanted. */
import { ask } from "./api.js";
import { $, save, say, stem } from "./dom.js";

const FORMS = {
  mask: { query: "format=png", file: "mask.png" },
  color: { query: "format=color", file: "color.png" },
  overlay: { query: "format=overlay&image_format=jpeg", file: "overlay.jpg" },
};

export function watchDownloads({ current, key, alpha, refuse }) {
  $("json").addEventListener("click", () => {
    const item = current();
    save(new Blob([item.answer], { type: "application/json" }), `${stem(item.name)}.json`);
  });
  for (const [id, form] of Object.entries(FORMS)) {
    const button = $(id);
    button.addEventListener("click", async () => {
      if (button.ariaBusy === "true") return;
      const item = current();
      const query = `${form.query}${id === "overlay" ? `&alpha=${alpha()}` : ""}${item.query && `&${item.query}`}`;
      const file = `${stem(item.name)}-${form.file}`;
      button.ariaBusy = "true";
      say(`Asking for ${file}.`);
      try {
        save(await ask(item.file, query, key()), file);
        say(`${file} is saved.`);
      } catch (problem) {
        refuse(problem);
      } finally {
        button.ariaBusy = "false";
      }
    });
  }
}
