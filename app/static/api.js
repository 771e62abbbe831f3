/** Requests to the service that the page comes from. */
import { problemOf, unreachable } from "./problems.js";

/** Addresses are those of this file's service, whether or not the page's own ends with a slash. */
export const absolute = (path) => new URL(`../${path}`, import.meta.url).href;

const headers = (key) => (key ? { "X-API-Key": key } : {});

/** The answer of `/segment` to this file and query, as a blob. Throws a `Problem`. XMLHttpRequest, as fetch reports no progress of an upload. */
export function segment(file, query, key, { onProgress, onSent, signal } = {}) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", absolute(`segment?${query}`));
    request.responseType = "blob";
    for (const [name, value] of Object.entries(headers(key))) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => event.lengthComputable && onProgress?.(event.loaded / event.total);
    request.upload.onload = () => onSent?.();
    request.onload = async () => {
      if (request.status === 200) resolve(request.response);
      else reject(await problemOf(request.status, request.getResponseHeader("Retry-After"), request.response, key));
    };
    request.onerror = () => reject(unreachable());
    request.onabort = () => reject(new DOMException("cancelled", "AbortError"));
    signal?.addEventListener("abort", () => request.abort());
    const form = new FormData();
    form.append("file", file);
    request.send(form);
  });
}

/** The JSON of a route, or null where the service refuses it or cannot be reached. */
export async function readJson(path, key) {
  try {
    const response = await fetch(absolute(path), { headers: { Accept: "application/json", ...headers(key) } });
    return response.ok ? await response.json() : null;
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
