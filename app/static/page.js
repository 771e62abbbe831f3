import { ask, told } from "./api.js";
import { showInfo, showKnown } from "./about.js";
import { $, say } from "./dom.js";
import { watchDownloads } from "./downloads.js";
import { watchIntake } from "./intake.js";
import { askForKey, currentKey, currentQuery, offerModels, watchOptions } from "./options.js";
import { Queue } from "./queue.js";
import { showSamples } from "./samples.js";
import { Show } from "./show.js";
import { watchCopies } from "./snippets.js";
import { Strip } from "./strip.js";

const show = new Show(confidenceOf);
const strip = new Strip(choose);
const queue = new Queue(() => ({ query: currentQuery(), key: currentKey() }), changed);
const current = () => show.item;
const refuse = ({ title, detail }) => say(`${title}. ${detail}`);

async function confidenceOf(item) {
  try {
    const query = item.query;
    const picture = item.confidence ?? (await ask(item.file, `format=confidence${query && `&${query}`}`, currentKey()));
    if (item.query !== query) return null; // the picture was run again meanwhile, with other options
    item.confidence = picture;
    return picture;
  } catch (problem) {
    refuse(problem);
    return null;
  }
}

function choose(item) {
  const before = current();
  show.show(item);
  for (const other of [before, item]) if (other && !other.removed) strip.update(other, item);
  strip.reveal(item);
  offerAgain();
}

/** Again is offered where it would ask for something else. */
function offerAgain() {
  const item = current();
  $("again").hidden = !item || item.state !== "done" || item.query === currentQuery();
}

function changed(item) {
  strip.update(item, current());
  if (item === current()) show.show(item);
  if (item.problem?.status === 401 && item.state === "failed") askForKey();
  offerAgain();
}

function take(files) {
  if (!files.length) return;
  const first = !queue.items.length;
  document.body.classList.add("working");
  $("work").hidden = false;
  const items = queue.add(files);
  choose(items[0]);
  if (first) $("stage").scrollIntoView({ block: "nearest" });
}

function discard(item) {
  const index = queue.items.indexOf(item);
  queue.remove(item);
  const next = queue.items[Math.min(index, queue.items.length - 1)];
  if (next) choose(next);
  else {
    document.body.classList.remove("working");
    $("work").hidden = $("result").hidden = true;
    show.item = null;
    say("");
    $("file").focus();
  }
}

watchIntake(take);
watchCopies();
watchDownloads({ current, key: currentKey, alpha: () => $("opacity").value / 100, refuse });
watchOptions({ changed: offerAgain, keyed: () => { queue.unlock(); learn(); } });
showSamples(take, refuse);
$("cancel").addEventListener("click", () => queue.cancel(current()));
$("retry").addEventListener("click", () => queue.again([current()]));
$("again").addEventListener("click", () => queue.again([current()]));
for (const id of ["discard", "discard-problem"]) $(id).addEventListener("click", () => discard(current()));

/** What the service tells of itself, to some only with a key. */
function learn() {
  showInfo(currentKey());
  told("classes", currentKey()).then(showKnown);
  offerModels((model) => {
    showKnown(model.classes);
    showInfo(currentKey(), model.name);
  });
}

learn();
