/** The state of a photo: its turn, its upload, the wait for its classes, or what went wrong. */
import { $, showStatus } from "./dom.js";

const CANCELLED = { title: "Cancelled", detail: "You cancelled this photo. It has no classes yet.", status: 0, retryAfter: null, retry: true };

const busyText = ({ state, progress }) => ({
  waiting: "Waiting for its turn",
  sending: `Sending, ${Math.floor(progress * 100)} %`,
  working: "Working: the model finds the classes",
})[state];

/** Shows how far this photo is. A missing key is asked for elsewhere, once for all photos. */
export function showState(item) {
  const { state, progress, problem, name, answer } = item;
  const busy = ["waiting", "sending", "working"].includes(state);
  const failed = state === "failed" || state === "cancelled";
  $("busy").hidden = !busy;
  $("problem").hidden = !failed || problem?.status === 401;
  $("view").hidden = failed && !answer;
  $("discard-problem").hidden = Boolean(answer); // the view has the same button
  $("rerun").hidden = state !== "done";
  if (busy) {
    $("busy-text").textContent = busyText(item);
    if (state === "sending") $("progress").value = progress;
    else $("progress").removeAttribute("value");
    if (state === "working") showStatus(`Segmenting ${name} …`);
  }
  if (state === "cancelled") showProblem(CANCELLED, item);
  else if (failed && problem.status === 401) showStatus("");
  else if (failed) showProblem(problem, item);
}

/** A photo that has an answer from before keeps it in the view. */
function showProblem({ title, detail, retryAfter, retry }, { name, answer }) {
  const wait = retryAfter ? ` Try again in ${retryAfter} ${retryAfter === 1 ? "second" : "seconds"}.` : "";
  const former = answer ? " The former result stays below." : "";
  $("problem-name").textContent = name;
  $("problem-title").textContent = title;
  $("problem-detail").textContent = detail + wait + former;
  $("problem").classList.toggle("mild", title === CANCELLED.title);
  $("retry").hidden = !retry;
  showStatus(`${name}: ${title}. ${detail}${wait}${former}`);
}
