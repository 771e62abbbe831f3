/** What the service refuses, in words for people. */

export class Problem extends Error {
  /** `retry` is whether the same request can succeed later. `retryAfter` is in seconds, or null. */
  constructor(title, detail, { status = 0, retryAfter = null, retry = true } = {}) {
    super(title);
    Object.assign(this, { title, detail, status, retryAfter, retry });
  }
}

export const unreachable = () =>
  new Problem("No connection", "The page cannot reach the server. Check that the server runs and that you are online. Then try again.");

/** What went wrong, in a line. */
export const textOf = ({ title, detail, message }) => (title ? `${title}. ${detail}` : `Something went wrong. ${message}`);

const TITLES = {
  413: "Too large",
  415: "The service does not read this file",
  503: "The server is busy",
  504: "It took too long",
};
/** By the last part of the problem's `type`; a status can have several. */
const TITLES_OF_TYPES = {
  "damaged-image": "Damaged image",
  "empty-body": "This file is empty",
  "wrong-parameter": "An option has a wrong value",
};
const CHANGE_OPTION = " Change the value under Options. Then try again.";
const FINAL = new Set([401, 413, 415]);
const FINAL_TYPES = new Set(["damaged-image", "empty-body"]);

/** A message of the service as a sentence. */
export const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");

function keyProblem(key) {
  const options = { status: 401, retry: false };
  return key
    ? new Problem("The key is wrong", "Check that it is complete, or ask the operator of this service for another key.", options)
    : new Problem("This service needs a key", "Ask the operator of this service for a key. The page continues when you enter it.", options);
}

/** The problem with a value under Options; `reason` is a sentence. */
export const optionProblem = (reason) => new Problem(TITLES_OF_TYPES["wrong-parameter"], reason + CHANGE_OPTION);

/** The problem that an answer with an error status describes. */
export async function problemOf(status, retryAfter, blob, key) {
  if (status === 401) return keyProblem(key);
  let body = {};
  try { body = JSON.parse(await blob.text()) ?? {}; } catch { /* a proxy's own page */ }
  const type = String(body.type ?? "").split(/[/#:]/).at(-1);
  const wait = Number.parseInt(retryAfter, 10);
  const title = TITLES_OF_TYPES[type] ?? TITLES[status] ?? body.title ?? `The server answered ${status}`;
  const reason = sentence(String(body.detail || "it gave no reason"));
  const detail = type === "empty-body" ? "Choose another file." : type === "wrong-parameter" ? reason + CHANGE_OPTION : reason;
  return new Problem(title, detail, {
    status,
    retryAfter: Number.isFinite(wait) ? wait : null,
    retry: !FINAL.has(status) && !FINAL_TYPES.has(type),
  });
}
