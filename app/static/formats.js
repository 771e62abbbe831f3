/** The forms in which the page gets an answer: the query of each, and the ending of its file's name. */
import { $ } from "./dom.js";

/** `takesClasses`: the parameter `classes` says which classes the file shows. `without`: options that do not go with the format. */
export const FORMATS = {
  overlay: { title: "Overlays", query: "format=overlay&image_format=jpeg", ending: "-overlay.jpg", takesClasses: true },
  cutout: {
    title: "Cut-outs", takesClasses: true, without: ["min_confidence"],
    get query() {
      const [type, objects] = [$("cutout-type").value, $("objects").value];
      const background = $("ground").value && $("ground-color").value;
      return { format: "cutout", ...(objects && { objects }), ...(type !== "png" && { image_format: type }), ...(background && { background }) };
    },
    get ending() { return `-cutout.${$("cutout-type").value.replace("jpeg", "jpg")}`; },
  },
  mask: { title: "Masks", query: "format=png", ending: "-mask.png" },
  color: { title: "Colours", query: "format=color", ending: "-color.png", takesClasses: true },
  confidence: { title: "Confidence", query: "format=confidence", ending: "-confidence.png", without: ["min_confidence"] },
  polygons: { title: "Polygons", query: "format=json&mask=polygons", ending: "-polygons.json", takesClasses: true },
  coco: { title: "COCO", query: "format=coco&mask=polygons", ending: "-coco.json", takesClasses: true },
  json: { title: "JSON", query: "format=json&mask=rle", ending: ".json" },
};

/** The whole query: the format, the options (a query of their own) that go with it, and more parameters. */
export function segmentQuery(id, options, more = {}) {
  const { query, without = [] } = FORMATS[id];
  const parameters = new URLSearchParams(query);
  for (const [name, value] of new URLSearchParams(options)) if (!without.includes(name)) parameters.set(name, value);
  for (const [name, value] of Object.entries(more)) parameters.set(name, value);
  return parameters.toString();
}

/** Offers a JPEG of cut-outs on a colour alone, since it has no transparency. `onChange` is called when a cut-out's form changes. */
export function watchCutout(onChange) {
  $("cutout-form").addEventListener("input", () => {
    const [type, transparent] = [$("cutout-type"), !$("ground").value];
    $("ground-color").hidden = $("jpeg").disabled = transparent;
    if (transparent && type.value === "jpeg") type.value = "png";
    $("cutout").querySelector("small").textContent = type.selectedOptions[0].textContent;
    onChange();
  });
}
