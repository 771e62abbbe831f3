/** The same request from a shell and from Python, and a button to copy each. */
import { absolute } from "./api.js";
import { $, showStatus, stem } from "./dom.js";
import { segmentQuery } from "./formats.js";

const inShell = (text) => `'${text.replaceAll("'", "'\\''")}'`;
// curl reads , ; and " in a form's file name as its own
const inForm = (name) => (/[,;"\\]/.test(name) ? `"${name.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"` : name);

export function curlOf(name, query, hasKey) {
  const key = hasKey ? ` -H "X-API-Key: $SEGMENT_KEY"` : "";
  const url = absolute(`segment?${query}`);
  return `curl --fail-with-body${key} -F ${inShell(`file=@${inForm(name)}`)} \\\n  ${inShell(url)} \\\n  -o ${inShell(`${stem(name)}.json`)}`;
}

export function pythonOf(name, query, hasKey) {
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
    "answer = response.raise_for_status().json()",
    `for entry in answer["classes"]:`,
    `    print(entry["name"], entry["fraction"])`,
  ].join("\n");
}

export function showSnippets({ name, query, hasKey }) {
  const full = segmentQuery("json", query);
  $("curl").textContent = curlOf(name, full, hasKey);
  $("python").textContent = pythonOf(name, full, hasKey);
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
