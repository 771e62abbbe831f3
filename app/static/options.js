/** How the next image is to be segmented, as a query; and the key that goes with it. */
import { told } from "./api.js";
import { $, make } from "./dom.js";

const KEY = "segment-key";
let key = "";
try { key = sessionStorage.getItem(KEY) ?? ""; } catch { /* kept for this page only */ }

export const currentKey = () => key;

/** Only what differs from the server's own settings is asked for. */
export function currentQuery() {
  const side = $("side").value === "number" ? $("side-pixels").value : $("side").value;
  const asked = {
    model: $("model-choice").hidden ? "" : $("model").value,
    side: side === "auto" ? "" : side,
    quality: $("quality").value,
    blend: $("blend").value,
    overlap: $("overlap").value,
    min_confidence: $("min-confidence").value,
  };
  return new URLSearchParams(Object.entries(asked).filter(([, value]) => value)).toString();
}

function keep(value) {
  key = value;
  try {
    if (value) sessionStorage.setItem(KEY, value);
    else sessionStorage.removeItem(KEY);
  } catch { /* kept for this page only */ }
}

/** Puts the key's form where it cannot be overlooked, beside what was refused for want of it. */
export function askForKey() {
  $("key-reason").textContent = key ? "The key was not accepted. Try another one." : "Ask whoever runs it for one; then your pictures go on.";
  $("key-ask").hidden = false;
  $("key-asked").append($("key-form"));
  $("key").focus();
}

export function watchOptions({ changed, keyed }) {
  $("side").addEventListener("change", () => { $("side-number").hidden = $("side").value !== "number"; });
  $("options-form").addEventListener("input", changed);
  $("options-form").addEventListener("submit", (event) => event.preventDefault());
  $("key").value = key;
  $("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    keep($("key").value.trim());
    $("key-ask").hidden = true;
    $("key-home").append($("key-form"));
    keyed();
  });
}

/** Offers the models where there are several; `chosen` hears of the one that is picked. */
export async function offerModels(chosen) {
  const models = await told("models", key);
  if (!Array.isArray(models) || models.length < 2) return;
  $("model").replaceChildren(...models.map((model) => make("option", { value: model.default ? "" : model.name, textContent: model.name })));
  $("model").selectedIndex = Math.max(0, models.findIndex((model) => model.default));
  $("model-choice").hidden = false;
  $("model").onchange = () => chosen(models[$("model").selectedIndex]);
}
