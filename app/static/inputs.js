/** The ways in which photos come: chosen, dropped anywhere on the page, or pasted. */
import { $ } from "./dom.js";

export function watchInputs(addPhotos) {
  for (const id of ["file", "more"]) {
    $(id).addEventListener("change", (event) => {
      addPhotos([...event.target.files]);
      event.target.value = "";
    });
  }
  let depth = 0;
  const over = (inside) => document.body.classList.toggle("over", inside);
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  addEventListener("dragenter", (event) => { if (hasFiles(event)) over(++depth > 0); });
  addEventListener("dragleave", (event) => { if (hasFiles(event)) over(--depth > 0); });
  addEventListener("dragover", (event) => { if (hasFiles(event)) event.preventDefault(); });
  addEventListener("drop", (event) => {
    depth = 0;
    over(false);
    if (!hasFiles(event)) return;
    event.preventDefault();
    addPhotos([...event.dataTransfer.files]);
  });
  addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (!files.length) return;
    event.preventDefault();
    addPhotos(files);
  });
}
