/** The EXIF orientation of WebP and PNG files. Browsers turn JPEG and AVIF themselves, as the service does. */

const ORIENTATION = 0x0112;
const PROFILE = "Raw profile type exif"; // how some programs keep EXIF in a PNG's text

const latin = (bytes) => Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");

/** The orientation in EXIF data, 1 to 8; 1 where it cannot be read. */
export function orientationOf(exif) {
  try {
    const start = latin(exif.subarray(0, 6)) === "Exif\0\0" ? 6 : 0;
    const view = new DataView(exif.buffer, exif.byteOffset + start, exif.byteLength - start);
    const little = view.getUint16(0) === 0x4949;
    const directory = view.getUint32(4, little);
    const count = view.getUint16(directory, little);
    for (let at = directory + 2; at < directory + 2 + 12 * count; at += 12) {
      if (view.getUint16(at, little) !== ORIENTATION) continue;
      const value = view.getUint16(at + 8, little);
      return value >= 1 && value <= 8 ? value : 1;
    }
  } catch { /* shorter than it says */ }
  return 1;
}

/** The chunks of a WebP (RFC 9649): name, start and end of the chunk, and its content. */
function* webpChunks(bytes) {
  const view = new DataView(bytes.buffer);
  for (let at = 12; at + 8 <= bytes.length;) {
    const length = view.getUint32(at + 4, true);
    const end = at + 8 + length + (length % 2);
    yield { name: latin(bytes.subarray(at, at + 4)), start: at, end, content: bytes.subarray(at + 8, at + 8 + length) };
    at = end;
  }
}

/** The chunks of a PNG (its specification, section 5.3). */
function* pngChunks(bytes) {
  const view = new DataView(bytes.buffer);
  for (let at = 8; at + 12 <= bytes.length;) {
    const length = view.getUint32(at);
    const end = at + 12 + length;
    yield { name: latin(bytes.subarray(at + 4, at + 8)), start: at, end, content: bytes.subarray(at + 8, at + 8 + length) };
    at = end;
  }
}

async function inflate(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** EXIF from a text chunk: after a name, a length and so on, the data as hexadecimal digits. */
async function exifOfText({ name, content }) {
  if (latin(content.subarray(0, PROFILE.length)) !== PROFILE) return null;
  const rest = content.subarray(PROFILE.length + 1);
  const text = latin(name === "zTXt" ? await inflate(rest.subarray(1)) : rest);
  const digits = text.split("\n").slice(3).join("").replace(/\s/g, "");
  return Uint8Array.from(digits.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}

async function pngExif(chunks) {
  const exif = chunks.findLast(({ name }) => name === "eXIf");
  if (exif) return exif.content;
  for (const chunk of chunks.filter(({ name }) => name === "tEXt" || name === "zTXt")) {
    const profile = await exifOfText(chunk).catch(() => null);
    if (profile) return profile;
  }
  return null;
}

/**
 * The file without the EXIF of WebP and PNG, which not every browser follows; the orientation that it had; and whether the
 * file has several frames.
 */
export async function storedImage(file) {
  const plain = { blob: file, orientation: 1, moves: file.type === "image/gif" };
  const head = latin(new Uint8Array(await file.slice(0, 16).arrayBuffer()));
  const webp = head.startsWith("RIFF") && head.slice(8, 12) === "WEBP";
  if (!webp && !head.startsWith("\x89PNG\r\n\x1a\n")) return plain;
  const bytes = new Uint8Array(await file.arrayBuffer());
  const chunks = [...(webp ? webpChunks(bytes) : pngChunks(bytes))];
  const moves = chunks.some(({ name }) => name === (webp ? "ANIM" : "acTL"));
  const exif = webp ? chunks.find(({ name }) => name === "EXIF")?.content : await pngExif(chunks);
  const orientation = exif ? orientationOf(exif) : 1;
  if (orientation === 1) return { ...plain, moves };
  if (webp) {
    const { start } = chunks.find(({ name }) => name === "EXIF");
    bytes.set([88, 88, 88, 88], start); // another name hides the chunk
    return { blob: new Blob([bytes], { type: "image/webp" }), orientation, moves };
  }
  const others = chunks.filter(({ name }) => name !== "eXIf").map(({ start, end }) => bytes.subarray(start, end));
  return { blob: new Blob([bytes.subarray(0, 8), ...others], { type: "image/png" }), orientation, moves };
}
