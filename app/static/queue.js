/** Images on their way: one after the other, each with its own state, options and answer. */
import { Problem, upload } from "./api.js";

let made = 0;

export class Queue {
  /** `changed(item)` hears of every change; `settings()` gives query and key at the time an image's turn comes. */
  constructor(settings, changed) {
    Object.assign(this, { settings, changed, items: [], running: null, locked: false });
  }

  add(files) {
    const items = [...files].map((file) => ({
      id: ++made, file, name: file.name || "pasted image", state: "waiting", progress: 0, problem: null, answer: null, confidence: null, query: null,
    }));
    this.items.push(...items);
    items.forEach(this.changed);
    this.next();
    return items;
  }

  set(item, change) {
    Object.assign(item, change);
    this.changed(item);
  }

  again(items) {
    this.locked = false;
    for (const item of items) {
      if (item === this.running) continue;
      this.set(item, { state: "waiting", progress: 0, problem: null, answer: null, confidence: null });
    }
    this.next();
  }

  cancel(item) {
    if (item === this.running) item.abort.abort();
    else if (item.state === "waiting") this.set(item, { state: "cancelled" });
  }

  remove(item) {
    this.cancel(item);
    this.items = this.items.filter((other) => other !== item);
    item.removed = true;
    this.changed(item);
  }

  /** Goes on after a key was given, with all that were refused for want of it. */
  unlock() {
    this.again(this.items.filter((item) => item.problem?.status === 401));
  }

  next() {
    if (this.running || this.locked) return;
    const item = this.items.find(({ state }) => state === "waiting");
    if (item) this.run(item);
  }

  async run(item) {
    this.running = item;
    const { query, key } = this.settings();
    item.abort = new AbortController();
    this.set(item, { state: "sending", query, keyed: Boolean(key) });
    try {
      const answer = await upload(item.file, `format=json&mask=rle${query && `&${query}`}`, key, {
        progress: (progress) => this.set(item, { progress }),
        sent: () => this.set(item, { state: "working", progress: 1 }),
        signal: item.abort.signal,
      });
      this.set(item, { state: "done", answer });
    } catch (error) {
      if (error.name === "AbortError") this.set(item, { state: "cancelled" });
      else {
        const problem = error instanceof Problem ? error : new Problem("Something went wrong", String(error));
        this.locked = problem.status === 401;
        this.set(item, { state: "failed", problem });
      }
    } finally {
      this.running = null;
      this.next();
    }
  }
}
