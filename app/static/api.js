/** Requests to the service that the page comes from. */
import { problemOf, unreachable } from "./problems.js";

/** Addresses are those of this file's service, whether or not the page's own ends with a slash. */
export const absolute = (path) => new URL(`../${path}`, import.meta.url).href;

const headers = (key) => (key ? { "X-API-Key": key } : {});

/** The answer to a form that is posted, as a blob. Throws a `Problem`. XMLHttpRequest, as fetch reports no progress of an upload. */
export function send(path, form, key, { onProgress, onSent, signal } = {}) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", absolute(path));
    request.responseType = "blob";
    for (const [name, value] of Object.entries(headers(key))) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => event.lengthComputable && onProgress?.(event.loaded / event.total);
    request.upload.onload = () => onSent?.();
    request.onload = async () => {
      if (request.status === 200 || request.status === 201) resolve(request.response);
      else reject(await problemOf(request.status, request.getResponseHeader("Retry-After"), request.response, key));
    };
    request.onerror = () => reject(unreachable());
    request.onabort = () => reject(new DOMException("cancelled", "AbortError"));
    signal?.addEventListener("abort", () => request.abort());
    request.send(form);
  });
}

/** The answer of `/segment` to this file and query, as a blob. Throws a `Problem`. `hooks`: those of `send`. */
export function segment(file, query, key, hooks) {
  const form = new FormData();
  form.append("file", file);
  return send(`segment?${query}`, form, key, hooks);
}

/** The response to a request without a body. Throws a `Problem`. */
export async function ask(method, path, key) {
  const options = { method, headers: headers(key), cache: "no-store" };
  const response = await fetch(absolute(path), options).catch(() => { throw unreachable(); });
  if (response.ok) return response;
  throw await problemOf(response.status, response.headers.get("Retry-After"), await response.blob(), key);
}

/** The JSON of a route, or null where the service refuses it or cannot be reached. */
export async function readJson(path, key) {
  try {
    return await (await ask("GET", path, key)).json();
  } catch {
    return null;
  }
}

/** Whether the service takes images now. Only 503 and an unreachable server say no: a proxy may hide the route. */
export async function isReady() {
  try {
    return (await fetch(absolute("health/ready"), { cache: "no-store" })).status !== 503;
  } catch {
    return false;
  }
}
