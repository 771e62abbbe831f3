/** Jobs: the service works on scenes and many photos after the page is closed. The browser keeps their ids. */
import { absolute, ask, send } from "./api.js";
import { $, keepFocus, make, save, showStatus } from "./dom.js";
import { askForKey, checkOptions, currentKey, currentQuery } from "./options.js";
import { sentence, textOf } from "./problems.js";

const KEPT = `segment-jobs ${absolute("")}`;
const POLL_MS = 2000;
const ENDED = new Set(["successful", "failed", "dismissed", "missing"]);
const ENDINGS = { cog: "tif", coco: "json" }; // of outputs that are not their file's ending

const jobs = []; // those of this visit, also the removed
let upload = null; // the `AbortController` of the form that is being sent
let needsKey = false; // the form was refused for want of a key

/** Keeps what `change` makes of the jobs that are kept (id, name and output); another tab may have changed them. */
function keep(change) {
  let kept = [];
  try {
    kept = change(JSON.parse(localStorage.getItem(KEPT)) ?? []);
    localStorage.setItem(KEPT, JSON.stringify(kept));
  } catch { /* they are shown until the page is closed */ }
  return kept;
}

/** Shows a job, the newest first, and what the service says of it from now on. */
function addJob({ id, name, output }) {
  const status = make("span", { className: "job-status number" });
  const bar = make("progress", { max: 100, ariaLabel: `Progress of ${name}` });
  const message = make("p", { className: "fine" });
  const link = make("a", { href: absolute(`jobs/${id}/results`), download: "", textContent: "Download the result" });
  const button = make("button", { type: "button", className: "plain" });
  const title = make("p", { className: "job-name" }, make("span", {}, `${name}, ${output}`), status);
  const row = make("li", {}, title, bar, message, make("p", { className: "row" }, link, button));
  const parts = { status, bar, message, link, button };
  const job = { id, name, output, row, parts, status: "", progress: 0, message: "the page asks for its state" };
  link.addEventListener("click", (event) => download(event, job));
  button.addEventListener("click", () => removeJob(job));
  jobs.push(job);
  $("job-list").prepend(row);
  showJob(job, {});
  watch(job);
}

function showJob(job, { status = job.status, progress = job.progress, message = job.message }) {
  const { parts } = job;
  const hasEnded = ENDED.has(status);
  if (hasEnded && job.status && job.status !== status) showStatus(`${job.name}: ${sentence(message)}`);
  Object.assign(job, { status, progress, message });
  parts.status.textContent = status === "running" ? `${status}, ${progress} %` : status;
  parts.status.dataset.status = status;
  parts.bar.hidden = hasEnded;
  parts.bar.value = progress;
  parts.message.textContent = sentence(message);
  parts.link.hidden = status !== "successful";
  parts.button.textContent = hasEnded ? "Remove" : "Dismiss";
}

/** Asks for a job's state until it has ended or is removed, or the service asks for a key. */
async function watch(job) {
  while (!job.isRemoved && !ENDED.has(job.status)) {
    try {
      showJob(job, await (await ask("GET", `jobs/${job.id}`, currentKey())).json());
    } catch (problem) {
      showJob(job, { status: problem.status === 404 ? "missing" : job.status, message: textOf(problem) });
      job.needsKey = problem.status === 401;
      if (job.needsKey) return askForKey(problem);
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/** A link sends no key: with one the page fetches the file, else the browser does, which keeps none of it in memory. */
async function download(event, { id, output }) {
  if (!currentKey()) return;
  event.preventDefault();
  try {
    save(await (await ask("GET", `jobs/${id}/results`, currentKey())).blob(), `segment-${id.slice(0, 8)}.${ENDINGS[output] ?? output}`);
  } catch (problem) {
    showStatus(textOf(problem));
  }
}

/** Ends a job that has not ended. Removes one that has. */
async function removeJob(job) {
  const answer = await ask("DELETE", `jobs/${job.id}`, currentKey()).catch((problem) => problem);
  if (answer.status === 200) return showJob(job, await answer.json());
  if (answer.status !== 204 && answer.status !== 404) return showStatus(textOf(answer));
  job.isRemoved = true;
  job.row.remove();
  keep((kept) => kept.filter(({ id }) => id !== job.id));
  keepFocus($("job-files"));
}

/** Sends the form's files as a job. They stay chosen where the service refuses them. */
async function submit() {
  if (upload) return;
  const files = [...$("job-files").files];
  const output = $("job-output").value;
  const form = new FormData();
  for (const file of files) form.append("file", file);
  upload = new AbortController();
  $("job-sending").hidden = false;
  $("job-problem").textContent = "";
  try {
    checkOptions();
    const query = new URLSearchParams(currentQuery());
    query.set("output", output);
    const onProgress = (share) => { $("job-sent").value = share; };
    const answer = await send(`jobs?${query}`, form, currentKey(), { onProgress, signal: upload.signal });
    const { jobID: id } = JSON.parse(await answer.text());
    const job = { id, output, name: files.length === 1 ? files[0].name : `${files.length} photos` };
    keep((kept) => [...kept, job]);
    addJob(job);
    $("job-form").reset();
    needsKey = false;
  } catch (problem) {
    needsKey = problem.status === 401;
    if (needsKey) askForKey(problem);
    if (problem.name !== "AbortError") $("job-problem").textContent = textOf(problem);
  }
  upload = null;
  $("job-sending").hidden = true;
  keepFocus($("job-files"));
}

/** Whether the service makes outputs of scenes. */
const hasScenes = () => $("job-scene").childElementCount > 0;

/** Offers outputs that go with the chosen files: one TIFF may be a scene, anything else is photos. */
function fitOutput() {
  const { files } = $("job-files");
  const isScene = hasScenes() && files.length === 1 && /\.tiff?$/i.test(files[0].name);
  const isOfScenes = $("job-output").selectedOptions[0].parentElement === $("job-scene");
  $("job-scene").disabled = !isScene;
  if (isScene !== isOfScenes) $("job-output").value = isScene ? "tif" : "zip";
}

/** Goes on with what was refused for want of a key. */
export function continueJobs() {
  if (needsKey) submit();
  jobs.filter((job) => job.needsKey).forEach(watch);
}

/** Shows the jobs that the browser keeps, where the service has jobs. */
export function watchJobs() {
  const { megabytes, days, outputs } = $("jobs").dataset;
  if (!megabytes) return;
  [...$("job-output").options].filter(({ value }) => !outputs.split(" ").includes(value)).forEach((option) => option.remove());
  $("job-scene").hidden = !hasScenes();
  if (!hasScenes()) $("job-files").labels[0].firstChild.data = "Photos ";
  $("jobs").hidden = $("job-photos").hidden = $("but-jobs").hidden = false;
  $("jobs-limits").textContent = `Up to ${megabytes} MB. The service keeps the files until the job ends, and the result for ${days} days at most.`;
  $("job-files").addEventListener("change", fitOutput);
  $("job-form").addEventListener("submit", (event) => { event.preventDefault(); submit(); });
  $("job-cancel").addEventListener("click", () => upload?.abort());
  addEventListener("beforeunload", (event) => { if (upload) event.preventDefault(); });
  keep((kept) => kept).forEach(addJob);
}
