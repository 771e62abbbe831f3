/** How the next image is to be segmented, as a query; and the key that goes with it. */
import { readJson } from "./api.js";
import { $, make } from "./dom.js";
import { optionProblem } from "./problems.js";

const KEY = "segment-key";
let key = "";
try { key = sessionStorage.getItem(KEY) ?? ""; } catch { /* kept for this page only */ }

export const currentKey = () => key;

/** Only what differs from the server's own settings is asked for. */
export function currentQuery() {
  const side = $("side").value === "number" ? $("side-pixels").value : $("side").value;
  const options = {
    model: $("model-choice").hidden ? "" : $("model").value,
    side: side === "auto" ? "" : side,
    quality: $("quality").value,
    blend: $("blend").value,
    overlap: $("overlap").value,
    min_confidence: $("min-confidence").value,
    min_area: $("min-area").value.replaceAll(" ", ""),
    fill_holes: $("fill-holes").value.replaceAll(" ", ""),
  };
  return new URLSearchParams(Object.entries(options).filter(([, value]) => value)).toString();
}

const labelOf = (field) => field.labels[0].firstChild.textContent.split(",")[0].trim();

/** What is wrong with the value of a field, as a sentence, or "". */
function faultOf(field) {
  const { valid, stepMismatch, rangeUnderflow, rangeOverflow } = field.validity;
  // the attribute `step` is for the arrows of the field; without it, numbers are whole
  const between = stepMismatch && field.step && !rangeUnderflow && !rangeOverflow;
  return valid || between || field.closest("[hidden]") ? "" : `${labelOf(field)}: write ${field.dataset.expected}.`;
}

/** Shows or clears what is wrong with the value of a field, below the field. */
function showFault(field, fault) {
  const id = `${field.id}-fault`;
  $(id)?.remove();
  field.ariaInvalid = fault ? "true" : null;
  if (fault) {
    field.setAttribute("aria-describedby", id);
    field.labels[0].after(make("p", { id, className: "fine fault", role: "alert", textContent: fault }));
  } else field.removeAttribute("aria-describedby");
}

/** Tells a wrong value when the user leaves its field, and clears it as soon as the value is right. */
function watchFields(form) {
  const fields = [...form.querySelectorAll("[data-expected]")];
  form.addEventListener("change", () => fields.forEach((field) => showFault(field, faultOf(field))));
  form.addEventListener("input", ({ target }) => { if (target.ariaInvalid && !faultOf(target)) showFault(target, ""); });
}

/** Throws a `Problem` where an option has a value that the service would refuse. */
export function checkOptions() {
  const fault = [...$("options-form").querySelectorAll("[data-expected]")].map(faultOf).find(Boolean);
  if (fault) throw optionProblem(fault);
}

function keep(value) {
  key = value;
  try {
    if (value) sessionStorage.setItem(KEY, value);
    else sessionStorage.removeItem(KEY);
  } catch { /* kept for this page only */ }
}

/** Shows the key's form above the photos, with the reason. */
export function askForKey({ title, detail }) {
  $("key-title").textContent = title;
  $("key-reason").textContent = detail;
  $("key-ask").hidden = false;
  $("key-asked").append($("key-form"));
  $("key").focus();
}

export function watchOptions({ onChange, onKey }) {
  $("side").addEventListener("change", () => { $("side-number").hidden = $("side").value !== "number"; });
  watchFields($("options-form"));
  $("options-form").addEventListener("input", onChange);
  $("options-form").addEventListener("submit", (event) => event.preventDefault());
  $("key").value = key;
  $("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    keep($("key").value.trim());
    $("key-ask").hidden = true;
    $("key-home").append($("key-form"));
    onKey();
  });
}

/** Offers the models where there are several; `onChoose(model)` is called with the one that the user picks. */
export async function offerModels(onChoose) {
  const models = await readJson("models", key);
  if (!Array.isArray(models) || models.length < 2) return;
  $("model").replaceChildren(...models.map((model) => make("option", { value: model.default ? "" : model.name, textContent: model.name })));
  $("model").selectedIndex = Math.max(0, models.findIndex((model) => model.default));
  $("model-choice").hidden = false;
  $("model").onchange = () => onChoose(models[$("model").selectedIndex]);
}
