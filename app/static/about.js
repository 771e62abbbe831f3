/** What the page says of the model before any photo: its name, device, scores and classes. */
import { readJson } from "./api.js";
import { withDisplayColors } from "./colors.js";
import { $, make, percent } from "./dom.js";

const row = (term, ...values) => [make("dt", { textContent: term }), ...values.map((value) => make("dd", {}, value))];

const RUNTIMES = { openvino: "OpenVINO", torch: "PyTorch" };
const runtimeText = ({ runtime, device, precision }) => `${device}, ${RUNTIMES[runtime] ?? runtime}, ${precision}`;

/** Scores of data sets and their splits, in the served precision where they were taken in it; other entries are comparisons. */
function splitScores(scores, precision) {
  const entries = Object.entries(scores ?? {}).filter(([, score]) => typeof score?.mean_iou === "number");
  const splits = entries.filter(([name]) => /, *(train|val|test)$/.test(name));
  return (splits.length ? splits : entries.slice(0, 1)).map(([name, score]) => [name, scores[`${name}, ${precision}`] ?? score]);
}

/** A score of each class: from the first of these scores that has the class. `photos` are those that show it, or null. */
function scoresByClass(scores) {
  const byName = new Map();
  for (const [, { classes = [], iou = [], frames = [] }] of scores) {
    classes.forEach((name, at) => {
      if (!byName.has(name)) byName.set(name, { name, iou: iou[at] ?? null, photos: frames[at] ?? null });
    });
  }
  return [...byName.values()];
}

function showClassScores(scores) {
  const rows = scoresByClass(scores);
  const main = scoresByClass(scores.slice(0, 1)).filter(({ iou }) => iou !== null).sort((one, other) => one.iou - other.iou);
  $("class-scores").hidden = !main.length;
  if (!main.length) return;
  const text = ({ name, iou }) => `${name} ${percent(iou, 1)}`;
  $("class-range").textContent = `By class: ${text(main[0])} to ${text(main.at(-1))}`;
  $("class-rows").replaceChildren(...rows.map(({ name, iou, photos }) => make(
    "tr", {}, Object.assign(make("th", { textContent: name }), { scope: "row" }),
    make("td", { textContent: iou === null ? "–" : percent(iou, 1) }),
    make("td", { textContent: photos ?? "–" }),
  )));
}

let latest = 0; // of the calls of `showInfo`: an earlier call's answer may come later

export async function showInfo(key, model = "") {
  const call = ++latest;
  const info = await readJson(model ? `info?model=${encodeURIComponent(model)}` : "info", key);
  if (!info?.model || call !== latest) return;
  const scores = splitScores(info.scores, info.runtime?.precision);
  $("facts").replaceChildren(
    ...row("Model", info.model.name),
    ...(info.runtime ? row("Runs on", runtimeText(info.runtime)) : []),
    ...(info.license ? row("Licence", info.license) : []),
  );
  $("scores").replaceChildren(...scores.map(([name, score]) => make(
    "tr", {}, Object.assign(make("th", { textContent: name }), { scope: "row" }),
    make("td", { textContent: percent(score.mean_iou, 1) }),
    make("td", { textContent: score.pixel_accuracy == null ? "–" : percent(score.pixel_accuracy, 1) }),
  )));
  $("score-table").hidden = !scores.length;
  showClassScores(scores);
  const { max_upload_mb: megabytes, max_megapixels: megapixels } = info.limits ?? {};
  if (megabytes && megapixels) $("limits").textContent = `Up to ${megabytes} MB and ${megapixels} megapixels for each photo.`;
  $("about").hidden = false;
}

export function showClasses(classes) {
  if (!Array.isArray(classes)) return;
  $("known").replaceChildren(...withDisplayColors(classes).map(({ name, color }) => {
    const swatch = make("span", { className: "swatch" });
    swatch.style.backgroundColor = color;
    return make("li", {}, swatch, name);
  }));
  $("known-part").dataset.filled = "";
}
