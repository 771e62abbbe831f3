/** The fields of the options: a value that the service would refuse is told at its field, before any request. */
import { make } from "./dom.js";

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
  document.getElementById(id)?.remove();
  field.ariaInvalid = fault ? "true" : null;
  if (fault) {
    field.setAttribute("aria-describedby", id);
    field.labels[0].after(make("p", { id, className: "fine fault", role: "alert", textContent: fault }));
  } else field.removeAttribute("aria-describedby");
}

/** Tells a wrong value when the user leaves its field, and clears it as soon as the value is right. */
export function watchFields(form) {
  const fields = [...form.querySelectorAll("[data-expected]")];
  form.addEventListener("change", () => fields.forEach((field) => showFault(field, faultOf(field))));
  form.addEventListener("input", ({ target }) => { if (target.ariaInvalid && !faultOf(target)) showFault(target, ""); });
}

/** What is wrong with the first field of the form that has a wrong value, or "". */
export const firstFault = (form) => [...form.querySelectorAll("[data-expected]")].map(faultOf).find(Boolean) ?? "";
