/** Photographs to try the service with. */
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
