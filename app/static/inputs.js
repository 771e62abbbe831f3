/** The ways in which photos come: chosen, dropped anywhere on the page, pasted, or one of the samples. */
import { absolute } from "./api.js";
import { $, icon, make } from "./dom.js";
import { Problem } from "./problems.js";

const SAMPLES = [
  { name: "cows.jpg", title: "Cows", by: "Dohduhdah, public domain" },
  { name: "dog.jpg", title: "A dog", by: "Hans Kemperman, public domain" },
  { name: "chelsea.jpg", title: "A cat", by: "Stéfan van der Walt, CC0" },
];

async function fetchSample(name) {
  const problem = new Problem("No connection", "The page cannot load this photo from the server.");
  const response = await fetch(absolute(`static/samples/${name}`)).catch(() => { throw problem; });
  if (!response.ok) throw problem;
  return new File([await response.blob()], name, { type: "image/jpeg" });
}

export function showSamples(addPhotos, showError) {
  $("samples").append(...SAMPLES.map(({ name, title, by }) => {
    const image = make("img", { src: absolute(`static/samples/${name}`), alt: "", loading: "lazy", decoding: "async" });
    const button = make(
      "button", { type: "button", className: "sample" }, image, make("span", { className: "title" }, title, icon("arrow")),
      make("span", { className: "by", textContent: by }),
    );
    button.addEventListener("click", () => fetchSample(name).then((file) => addPhotos([file]), showError));
    return make("li", {}, button);
  }));
}

const isField = ({ target }) => target.closest?.("input:not([type=file]), textarea");
const noFile = () =>
  new Problem("No file came", "The browser gave an address or a text. Save the image, then drop or choose the saved file.");

export function watchInputs(addPhotos, showError) {
  const add = (files) => (files.length ? addPhotos(files) : showError(noFile()));
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
  addEventListener("dragover", (event) => { if (hasFiles(event) || !isField(event)) event.preventDefault(); });
  addEventListener("drop", (event) => {
    depth = 0;
    over(false);
    if (!hasFiles(event) && isField(event)) return;
    event.preventDefault();
    add([...event.dataTransfer.files]);
  });
  addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length) event.preventDefault();
    if (files.length || !isField(event)) add(files);
  });
}
