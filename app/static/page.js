/** The page: what its parts do for one another. */
import { isReady, readJson, segment } from "./api.js";
import { showClasses, showInfo } from "./about.js";
import { watchArchive } from "./archive.js";
import { $, keepFocus, showStatus } from "./dom.js";
import { fileOf, watchDownloads } from "./downloads.js";
import { segmentQuery } from "./formats.js";
import { showSamples, watchInputs } from "./inputs.js";
import { continueJobs, watchJobs } from "./jobs.js";
import { askForKey, checkOptions, currentKey, currentQuery, offerModels, watchOptions } from "./options.js";
import { textOf } from "./problems.js";
import { Queue } from "./queue.js";
import { Result } from "./result.js";
import { watchCopies } from "./snippets.js";
import { Thumbnails } from "./thumbnails.js";

const POLL_MS = 1000;
const PREVIEW_PIXELS = 2048; // of a side; cut-outs of large photos take seconds
const STARTING = "The service is starting. The page continues when the service is ready.";

const result = new Result({ confidenceOf, cutoutOf });
const thumbnails = new Thumbnails(choose);
const queue = new Queue(settings, changed);
const current = () => result.item;
const showError = (error) => showStatus(textOf(error));

/** Settings of the next request; throws a `Problem` where an option has a wrong value. */
function settings() {
  checkOptions();
  return { query: currentQuery(), key: currentKey() };
}

async function confidenceOf(item) {
  try {
    const { query } = item;
    const picture = item.confidence ?? (await segment(item.file, segmentQuery("confidence", query), currentKey()));
    if (item.query !== query) return null; // the photo was run again meanwhile, with other options
    item.confidence = picture;
    return picture;
  } catch (problem) {
    showError(problem);
    return null;
  }
}

/** The cut-out as it will be saved, or nothing after it has shown why there is none. */
function cutoutOf(item) {
  return fileOf(item, "cutout", fileSettings(), { width: PREVIEW_PIXELS, height: PREVIEW_PIXELS }).catch(showError);
}

const fileSettings = () => ({ opacity: result.opacity, withNames: result.withNames, key: currentKey() });

function choose(item) {
  const before = current();
  result.show(item);
  for (const other of [before, item]) if (other && !other.removed) thumbnails.update(other, item);
  thumbnails.reveal(item);
  showProgress();
}

/** Shows how many photos are done, and what can be done with the current one and with all. */
function showProgress() {
  const item = current();
  const { done, failed, all } = queue.counts;
  $("batch").hidden = all < 2;
  $("all-part").hidden = all < 2 || !done;
  $("count").textContent = `${done} of ${all} done${failed ? `, ${failed} failed` : ""}`;
  $("batch-progress").max = Math.max(1, all);
  $("batch-progress").value = done + failed;
  $("batch-progress").hidden = done + failed === all;
  $("again").hidden = !item || item.state !== "done" || item.query === currentQuery();
  keepFocus($("retry"), $("discard-problem"), thumbnails.button(item), $("file"));
}

function changed(item) {
  thumbnails.update(item, current());
  if (item.removed) return;
  if (item === current()) result.show(item);
  if (item.problem?.status === 401 && item.state === "failed") askForKey(item.problem);
  showProgress();
}

function addPhotos(files) {
  if (!files.length) return;
  const first = !queue.items.length;
  document.body.classList.add("working");
  $("work").hidden = false;
  const items = queue.add(files);
  choose(items[0]);
  if (first) $("stage").scrollIntoView({ block: "nearest" });
}

function discard(items) {
  const index = queue.items.indexOf(items[0]);
  queue.remove(items);
  const next = queue.items[Math.min(index, queue.items.length - 1)];
  if (next) choose(next);
  else {
    document.body.classList.remove("working");
    $("work").hidden = $("result").hidden = $("code").hidden = $("all-part").hidden = true;
    result.item = null;
    showStatus("");
    $("file").focus();
  }
}

/** Shows what the service says of itself, some of it only to those with a key. */
function showService() {
  showInfo(currentKey());
  readJson("classes", currentKey()).then(showClasses);
  offerModels((model) => {
    showClasses(model.classes);
    showInfo(currentKey(), model.name);
  });
}

async function start() {
  if (!(await isReady())) {
    queue.paused = true;
    showStatus(STARTING);
    do await new Promise((resolve) => setTimeout(resolve, POLL_MS)); while (!(await isReady()));
    showStatus("The service is ready.");
    queue.again([]);
  }
  showService();
}

watchInputs(addPhotos, showError);
watchCopies();
watchDownloads({ current, settings: fileSettings, showError });
watchArchive({ items: () => queue.items, settings: fileSettings, showError });
watchOptions({ onChange: showProgress, onKey: () => { queue.unlock(); continueJobs(); showService(); showProgress(); } });
showSamples(addPhotos, showError);
watchJobs();
$("cancel").addEventListener("click", () => queue.cancel(current()));
for (const id of ["retry", "again", "rerun"]) $(id).addEventListener("click", () => queue.again([current()]));
for (const id of ["discard", "discard-problem"]) $(id).addEventListener("click", () => discard([current()]));
$("again-all").addEventListener("click", () => queue.again(queue.items));
$("clear").addEventListener("click", () => discard([...queue.items]));

start();
