/** Jobs: the service works on scenes and many photos after the page is closed. The browser keeps their ids. */
import { absolute, ask, send } from "./api.js";
import { $, keepFocus, make, save, showStatus } from "./dom.js";
import { askForKey, checkOptions, currentKey, currentQuery } from "./options.js";
import { Problem, sentence } from "./problems.js";

const KEPT = `segment-jobs ${absolute("")}`;
const POLL_MS = 2000;
const ENDED = new Set(["successful", "failed", "dismissed", "missing"]);
const MISSING = { status: "missing", message: "the service has no such job of yours: it was removed, or belongs to another key" };
const ENDINGS = { cog: "tif", coco: "json" }; // of outputs that are not their file's ending

let jobs = []; // those that are shown, the newest first
let upload = null; // the `AbortController` of the form that is being sent
let needsKey = false; // the form was refused for want of a key

/** Keeps id, name and output of the jobs that `change` makes of those that are kept; another tab may have changed them. */
function keep(change) {
  let kept = [];
  try {
    kept = change(JSON.parse(localStorage.getItem(KEPT)) ?? []);
    localStorage.setItem(KEPT, JSON.stringify(kept));
  } catch { /* they are shown until the page is closed */ }
  return kept;
}

const textOf = (error) => (error instanceof Problem ? `${error.title}. ${error.detail}` : `Something went wrong. ${error.message}`);

/** Shows a job, and what the service says of it from now on. */
function addJob({ id, name, output }) {
  const parts = {
    status: make("span", { className: "job-status" }),
    bar: make("progress", { max: 100, ariaLabel: `Progress of ${name}` }),
    message: make("p", { className: "fine" }),
    link: make("a", { href: absolute(`jobs/${id}/results`), download: "", textContent: "Download the result", hidden: true }),
    button: make("button", { type: "button", className: "plain" }),
  };
  const title = make("p", { className: "job-name" }, make("span", { textContent: `${name}, ${output}` }), parts.status);
  const row = make("li", {}, title, parts.bar, parts.message, make("p", { className: "row" }, parts.link, parts.button));
  const job = { id, name, output, parts, row, status: "", progress: 0, message: "" };
  parts.link.addEventListener("click", (event) => download(event, job));
  parts.button.addEventListener("click", () => removeJob(job));
  jobs.unshift(job);
  $("job-list").prepend(row);
  showJob(job, {});
  return job;
}

function showJob(job, { status = job.status, progress = job.progress, message = job.message }) {
  const { parts } = job;
  if (job.status && !ENDED.has(job.status) && ENDED.has(status)) showStatus(`${job.name}: ${sentence(message)}`);
  Object.assign(job, { status, progress, message });
  parts.status.textContent = status === "running" ? `${status}, ${progress} %` : status;
  parts.status.dataset.status = status;
  parts.bar.hidden = ENDED.has(status);
  if (status === "running") parts.bar.value = progress;
  else parts.bar.removeAttribute("value");
  parts.message.textContent = message && sentence(message);
  parts.link.hidden = status !== "successful";
  parts.button.textContent = ENDED.has(status) ? "Remove" : "Dismiss";
}

/** Asks for a job's state until it has ended or is removed, or the service asks for a key. */
async function watch(job) {
  job.isWatched = true;
  while (!job.isRemoved) {
    try {
      showJob(job, await (await ask("GET", `jobs/${job.id}`, currentKey())).json());
    } catch (problem) {
      showJob(job, problem.status === 404 ? MISSING : { message: textOf(problem) });
      if (problem.status === 401) {
        askForKey(problem);
        break;
      }
    }
    if (ENDED.has(job.status)) break;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  job.isWatched = false;
}

/** A link cannot send a key: with one the page fetches the file, else the browser does, which need not keep it in memory. */
async function download(event, { id, output, parts: { link } }) {
  if (!currentKey()) return;
  event.preventDefault();
  if (link.ariaBusy === "true") return;
  link.ariaBusy = "true";
  try {
    save(await (await ask("GET", `jobs/${id}/results`, currentKey())).blob(), `segment-${id.slice(0, 8)}.${ENDINGS[output] ?? output}`);
  } catch (problem) {
    showStatus(textOf(problem));
  } finally {
    link.ariaBusy = "false";
  }
}

/** Ends a job that has not ended. Removes one that has. */
async function removeJob(job) {
  try {
    const response = job.status === "missing" ? null : await ask("DELETE", `jobs/${job.id}`, currentKey());
    if (response?.status === 200) {
      showJob(job, await response.json());
      return;
    }
  } catch (problem) {
    if (problem.status !== 404) {
      showStatus(textOf(problem));
      return;
    }
  }
  job.isRemoved = true;
  job.row.remove();
  jobs = jobs.filter((other) => other !== job);
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
  needsKey = false;
  $("job-sending").hidden = false;
  $("job-sent").value = 0;
  $("job-problem").textContent = "";
  try {
    checkOptions();
    const query = new URLSearchParams(currentQuery());
    query.set("output", output);
    const answer = await send(`jobs?${query}`, form, currentKey(), {
      onProgress: (share) => { $("job-sent").value = share; },
      onSent: () => $("job-sent").removeAttribute("value"),
      signal: upload.signal,
    });
    const { jobID: id, ...state } = JSON.parse(await answer.text());
    const job = { id, output, name: files.length === 1 ? files[0].name : `${files.length} photos` };
    keep((kept) => [...kept, job]);
    $("job-form").reset();
    const shown = addJob(job);
    showJob(shown, state);
    watch(shown);
  } catch (problem) {
    needsKey = problem.status === 401;
    if (needsKey) askForKey(problem);
    if (problem.name !== "AbortError") $("job-problem").textContent = textOf(problem);
  } finally {
    upload = null;
    $("job-sending").hidden = true;
    keepFocus($("job-files"));
  }
}

/** Offers outputs that go with the chosen files: one TIFF may be a scene, anything else is photos. */
function fitOutput() {
  const { files } = $("job-files");
  const isScene = files.length === 1 && /\.tiff?$/i.test(files[0].name);
  const isOfScenes = $("job-output").selectedOptions[0].parentElement === $("job-scene");
  $("job-scene").disabled = !isScene;
  if (isScene !== isOfScenes) $("job-output").value = isScene ? "tif" : "zip";
  $("job-problem").textContent = "";
}

/** Goes on with what was refused for want of a key. */
export function continueJobs() {
  if (needsKey) submit();
  for (const job of jobs) if (!job.isWatched && !ENDED.has(job.status)) watch(job);
}

/** Shows the jobs that the browser keeps, where the service has jobs. */
export function watchJobs() {
  const { megabytes, days } = $("jobs").dataset;
  if (!megabytes) return;
  $("jobs").hidden = $("job-photos").hidden = false;
  $("jobs-limits").textContent = `Up to ${megabytes} MB. The service keeps the files until the job ends, and the result until you remove it, at most ${days} ${days === "1" ? "day" : "days"}.`;
  $("job-files").addEventListener("change", fitOutput);
  $("job-form").addEventListener("submit", (event) => { event.preventDefault(); submit(); });
  $("job-cancel").addEventListener("click", () => upload?.abort());
  addEventListener("beforeunload", (event) => { if (upload) event.preventDefault(); });
  keep((kept) => kept).forEach((job) => watch(addJob(job)));
}
