/** What the server (or the way to it) said no with; title and detail are for people. */
export class Problem extends Error {
  constructor(title, detail, status = 0, retryAfter = null) {
    super(title);
    Object.assign(this, { title, detail, status, retryAfter });
  }
}

/** Addresses are those of this file's service, whether or not the page's own ends with a slash. */
export const absolute = (path) => new URL(`../${path}`, import.meta.url).href;

const headers = (key) => (key ? { "X-API-Key": key } : {});
const unreachable = () => new Problem("No connection", "The server cannot be reached. See that it runs and that you are online, then try again.");

const WORDS = {
  413: "Too large",
  415: "Not an image this service reads",
  503: "The server is busy",
  504: "It took too long",
};

const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");

/** A refused key is told apart from one that is missing. */
const aboutKey = (key) => (key
  ? new Problem("The key was not accepted", "See that it is whole, or ask whoever runs this service for another one.", 401)
  : new Problem("A key is needed", "This service answers only those who have an API key.", 401));

async function problemOf(status, retryAfter, blob, key) {
  if (status === 401) return aboutKey(key);
  let told = {};
  try { told = JSON.parse(await blob.text()); } catch { /* a proxy's own page */ }
  const wait = Number.parseInt(retryAfter, 10);
  const title = WORDS[status] ?? told.title ?? `The server answered ${status}`;
  return new Problem(title, sentence(told.detail || "it gave no reason"), status, Number.isFinite(wait) ? wait : null);
}

/** Posts the file as a form; gives the answer as a blob. XMLHttpRequest, as fetch tells nothing of an upload's progress. */
export function upload(file, query, key, { progress, sent, signal }) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", absolute(`segment?${query}`));
    request.responseType = "blob";
    for (const [name, value] of Object.entries(headers(key))) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => event.lengthComputable && progress(event.loaded / event.total);
    request.upload.onload = sent;
    request.onload = async () => {
      if (request.status === 200) resolve(request.response);
      else reject(await problemOf(request.status, request.getResponseHeader("Retry-After"), request.response, key));
    };
    request.onerror = () => reject(unreachable());
    request.onabort = () => reject(new DOMException("cancelled", "AbortError"));
    signal.addEventListener("abort", () => request.abort());
    const form = new FormData();
    form.append("file", file);
    request.send(form);
  });
}

/** The answer in another form, as a blob. */
export async function ask(file, query, key) {
  const body = new FormData();
  body.append("file", file);
  let response;
  try {
    response = await fetch(absolute(`segment?${query}`), { method: "POST", body, headers: headers(key) });
  } catch {
    throw unreachable();
  }
  if (!response.ok) throw await problemOf(response.status, response.headers.get("Retry-After"), await response.blob(), key);
  return response.blob();
}

/** What a route tells those with this key, or null where it tells nothing. */
export async function told(path, key) {
  try {
    const response = await fetch(absolute(path), { headers: { Accept: "application/json", ...headers(key) } });
    return response.ok ? await response.json() : null;
  } catch {
    return null;
  }
}
