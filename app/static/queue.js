/** Photos in turn: one at a time, each with its own state, options and answer. */
import { segmentQuery } from "./formats.js";
import { Problem } from "./problems.js";
import { segment } from "./api.js";

let count = 0;

export class Queue {
  /**
   * `settings()` gives query and key when a photo's turn comes, or throws a `Problem`; `onChange(item)` is called at every change. A queue that is
   * `paused` sends nothing: the service starts, or it asks for a key.
   */
  constructor(settings, onChange) {
    Object.assign(this, { settings, onChange, items: [], running: null, paused: false });
  }

  add(files) {
    const items = [...files].map((file) => ({
      id: ++count, file, name: file.name || "pasted image", state: "waiting",
      progress: 0, problem: null, answer: null, confidence: null, query: null, view: null,
    }));
    this.items.push(...items);
    items.forEach(this.onChange);
    this.next();
    return items;
  }

  /** How many photos have their answer, failed, and are there in all. */
  get counts() {
    const of = (...states) => this.items.filter(({ state }) => states.includes(state)).length;
    return { done: of("done"), failed: of("failed", "cancelled"), all: this.items.length };
  }

  set(item, change) {
    Object.assign(item, change);
    this.onChange(item);
  }

  /** Sends these again; each keeps its former answer, and the query of that, until the next answer comes. */
  again(items) {
    this.paused = false;
    for (const item of items) {
      if (item === this.running) continue;
      this.set(item, { state: "waiting", progress: 0, problem: null });
    }
    this.next();
  }

  cancel(item) {
    if (item === this.running) item.abort.abort();
    else if (item.state === "waiting") this.stop(item);
  }

  stop(item) {
    this.set(item, { state: item.answer ? "done" : "cancelled" });
  }

  remove(items) {
    for (const item of items) item.removed = true;
    this.items = this.items.filter((item) => !item.removed);
    for (const item of items) {
      this.cancel(item);
      this.onChange(item);
    }
  }

  /** Sends again all that were refused for want of a key. */
  unlock() {
    this.again(this.items.filter((item) => item.problem?.status === 401));
  }

  next() {
    if (this.running || this.paused) return;
    const item = this.items.find(({ state }) => state === "waiting");
    if (item) this.run(item);
  }

  async run(item) {
    this.running = item;
    item.abort = new AbortController();
    try {
      const { query, key } = this.settings();
      this.set(item, { state: "sending" });
      const answer = await segment(item.file, segmentQuery("json", query), key, {
        onProgress: (progress) => this.set(item, { progress }),
        onSent: () => this.set(item, { state: "working", progress: 1 }),
        signal: item.abort.signal,
      });
      this.set(item, { state: "done", answer, query, hasKey: Boolean(key), confidence: null, view: null });
    } catch (error) {
      if (error.name === "AbortError") this.stop(item);
      else {
        const problem = error instanceof Problem ? error : new Problem("Something went wrong", String(error));
        this.paused = problem.status === 401;
        this.set(item, { state: "failed", problem });
      }
    } finally {
      this.running = null;
      this.next();
    }
  }
}
