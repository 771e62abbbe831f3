/** The ways in which images come: chosen, dropped anywhere on the page, or pasted. */
import { $ } from "./dom.js";

export function watchIntake(take) {
  for (const id of ["file", "more"]) {
    $(id).addEventListener("change", (event) => {
      take([...event.target.files]);
      event.target.value = "";
    });
  }
  let depth = 0;
  const over = (inside) => document.body.classList.toggle("over", inside);
  const brings = (event) => event.dataTransfer?.types.includes("Files");
  addEventListener("dragenter", (event) => { if (brings(event)) over(++depth > 0); });
  addEventListener("dragleave", (event) => { if (brings(event)) over(--depth > 0); });
  addEventListener("dragover", (event) => { if (brings(event)) event.preventDefault(); });
  addEventListener("drop", (event) => {
    depth = 0;
    over(false);
    if (!brings(event)) return;
    event.preventDefault();
    take([...event.dataTransfer.files]);
  });
  addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (!files.length) return;
    event.preventDefault();
    take(files);
  });
}
