const $ = (id) => document.getElementById(id);
const links = [];
let current = 0;

function say(text, isError = false) {
  $("status").textContent = text;
  $("status").classList.toggle("error", isError);
}

async function ask(file, query) {
  const form = new FormData();
  form.append("file", file);
  const response = await fetch(`segment?${query}`, { method: "POST", body: form });
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({ title: `Error ${response.status}`, detail: "" }));
  throw new Error(`${problem.title}: ${problem.detail}`);
}

function link(blob) {
  const url = URL.createObjectURL(blob);
  links.push(url);
  return url;
}

function fill(classes) {
  $("classes").replaceChildren(...classes.map((entry) => {
    const row = document.createElement("tr");
    const name = row.insertCell();
    const swatch = document.createElement("span");
    swatch.className = "swatch";
    swatch.style.backgroundColor = entry.color;
    name.append(swatch, entry.name);
    row.insertCell().textContent = `${(entry.fraction * 100).toFixed(1)} %`;
    row.insertCell().textContent = `${(entry.mean_confidence * 100).toFixed(0)} %`;
    return row;
  }));
}

async function segment(file) {
  const turn = ++current;
  say(`Segmenting ${file.name} …`);
  $("result").hidden = true;
  links.splice(0).forEach(URL.revokeObjectURL);
  try {
    const [colors, mask, json] = await Promise.all(["format=color", "format=png", "format=json"].map((q) => ask(file, q)));
    const [text, colorsBlob, maskBlob] = await Promise.all([json.text(), colors.blob(), mask.blob()]);
    if (turn !== current) return;
    const answer = JSON.parse(text);
    $("photo").src = link(file);
    $("colors").src = link(colorsBlob);
    $("mask").href = link(maskBlob);
    $("json").href = link(new Blob([text], { type: "application/json" }));
    fill(answer.classes);
    $("result").hidden = false;
    say(`${file.name}: ${answer.image.width} × ${answer.image.height} pixels, ${answer.classes.length} classes.`);
  } catch (error) {
    if (turn === current) say(error.message, true);
  }
}

$("file").addEventListener("change", (event) => event.target.files[0] && segment(event.target.files[0]));
$("opacity").addEventListener("input", (event) => { $("colors").style.opacity = event.target.value / 100; });
for (const name of ["dragover", "dragleave", "drop"]) {
  $("drop").addEventListener(name, (event) => {
    event.preventDefault();
    $("drop").classList.toggle("over", name === "dragover");
    if (name === "drop" && event.dataTransfer.files[0]) segment(event.dataTransfer.files[0]);
  });
}

fetch("info").then((response) => response.json()).then((info) => {
  if (info.model) $("model").textContent = `${info.model.name} on ${info.device}, ${info.dtype}.`;
}).catch(() => {});
