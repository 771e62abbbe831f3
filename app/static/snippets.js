/** A request for what the page shows, from a shell and from Python, and a button to copy each. */
import { absolute } from "./api.js";
import { $, make, showStatus, stem } from "./dom.js";
import { FORMATS, segmentQuery } from "./formats.js";
import { firstView, isShownIn } from "./legend.js";

const inShell = (text) => `'${text.replaceAll("'", "'\\''")}'`;
// curl reads , ; and " in a form's file name as its own
const inForm = (name) => (/[,;"\\]/.test(name) ? `"${name.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"` : name);

const READ_JSON = {
  json: [`for entry in answer["classes"]:`, `    print(entry["name"], entry["fraction"])`],
  polygons: [`print(answer["class_map"]["polygons"])`],
  coco: [`print(len(answer["annotations"]), "regions")`],
};

export function curlOf(name, query, hasKey, file) {
  const key = hasKey ? ` -H "X-API-Key: $SEGMENT_KEY"` : "";
  const url = absolute(`segment?${query}`);
  return `curl --fail-with-body${key} -F ${inShell(`file=@${inForm(name)}`)} \\\n  ${inShell(url)} \\\n  -o ${inShell(file)}`;
}

/** `answer`: the lines that use the response. */
export function pythonOf(name, query, hasKey, answer) {
  const pairs = [...new URLSearchParams(query)].map(([field, value]) => `${JSON.stringify(field)}: ${JSON.stringify(value)}`);
  return [
    ...(hasKey ? ["import os", ""] : []),
    "import httpx",
    "",
    `with open(${JSON.stringify(name)}, "rb") as photo:`,
    "    response = httpx.post(",
    `        ${JSON.stringify(absolute("segment"))},`,
    `        params={${pairs.join(", ")}},`,
    `        files={"file": photo},`,
    ...(hasKey ? [`        headers={"X-API-Key": os.environ["SEGMENT_KEY"]},`] : []),
    "        timeout=120,",
    "    )",
    ...answer,
  ].join("\n");
}

/** The parameter `classes`, where the format takes it and the page shows other classes than at first. */
function chosenClasses(format, view, classes) {
  const shown = (one) => classes.filter(isShownIn(one)).map(({ id }) => id).join(",");
  const ids = shown(view);
  return FORMATS[format].takesClasses && ids && ids !== shown(firstView(classes)) ? { classes: ids } : {};
}

/** Shows the programs for an item of the queue, in the chosen format. `classes`: those of its answer. */
export function showSnippets({ name, query, hasKey, view }, classes) {
  const format = $("code-format").value;
  const full = segmentQuery(format, query, chosenClasses(format, view, classes));
  const file = `${stem(name)}${FORMATS[format].ending}`;
  const answer = READ_JSON[format]
    ? ["answer = response.raise_for_status().json()", ...READ_JSON[format]]
    : [`with open(${JSON.stringify(file)}, "wb") as file:`, "    file.write(response.raise_for_status().content)"];
  $("curl").textContent = curlOf(name, full, hasKey, file);
  $("python").textContent = pythonOf(name, full, hasKey, answer);
}

/** Fills the list of formats; `onChange` is called when another one is chosen. */
export function watchFormat(onChange) {
  const options = Object.entries(FORMATS).map(([value, { title }]) => make("option", { value, textContent: title, selected: value === "json" }));
  $("code-format").replaceChildren(...options);
  $("code-format").addEventListener("change", onChange);
}

/** Only pages from a secure origin may use the clipboard; elsewhere a selection is copied. */
async function copy(code) {
  try {
    await navigator.clipboard.writeText(code.textContent);
    return true;
  } catch {
    getSelection().selectAllChildren(code);
    return document.execCommand("copy");
  }
}

export function watchCopies() {
  for (const button of document.querySelectorAll("[data-copy]")) {
    const label = button.querySelector("span");
    button.addEventListener("click", async () => {
      const success = await copy($(button.dataset.copy));
      showStatus(success ? "Copied." : "The text is selected. Copy it with your keyboard.");
      label.textContent = success ? "Copied" : "Selected";
      setTimeout(() => { label.textContent = "Copy"; }, 2000);
    });
  }
}
