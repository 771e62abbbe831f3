/** The EXIF orientation of WebP and PNG files. Browsers turn JPEG and AVIF themselves, as the service does. */

const ORIENTATION = /\x12\x01\x03\0\x01\0\0\0([\x01-\x08])|\x01\x12\0\x03\0\0\0\x01\0([\x01-\x08])/; // a tag, little- or big-endian
const PROFILE = /^Raw profile type exif\0(\0?)/; // how some programs keep EXIF in a PNG's text; a second 0 says that it is compressed
const LARGEST_EXIF = 1 << 16;

const latin = (bytes) => Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");

/** The chunks of a WebP (RFC 9649) or of a PNG (its specification, section 5.3): name, start and end, and content. */
function* chunksOf(bytes, webp) {
  const view = new DataView(bytes.buffer);
  for (let at = webp ? 12 : 8; at + 8 <= bytes.length;) {
    const length = view.getUint32(webp ? at + 4 : at, webp);
    const end = at + 8 + length + (webp ? length % 2 : 4);
    const name = latin(bytes.subarray(webp ? at : at + 4, webp ? at + 4 : at + 8));
    yield { name, start: at, end, content: bytes.subarray(at + 8, at + 8 + length) };
    at = end;
  }
}

/** EXIF in a text chunk, after a name, a length and so on, as hexadecimal digits; null where it has none or is damaged. */
async function exifOfText({ content }) {
  const match = PROFILE.exec(latin(content.subarray(0, 40)));
  if (!match) return null;
  try {
    const rest = new Blob([content.subarray(match[0].length)]);
    const text = await new Response(match[1] ? rest.stream().pipeThrough(new DecompressionStream("deflate")) : rest).text();
    return Uint8Array.from(text.split("\n").slice(3).join("").match(/[0-9a-f]{2}/gi), (pair) => Number.parseInt(pair, 16));
  } catch {
    return null;
  }
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
  const chunks = [...chunksOf(bytes, webp)];
  const moves = chunks.some(({ name }) => name === (webp ? "ANIM" : "acTL"));
  const own = chunks.findLast(({ name }) => name === (webp ? "EXIF" : "eXIf"));
  const texts = webp || own ? [] : await Promise.all(chunks.filter(({ name }) => name === "tEXt" || name === "zTXt").map(exifOfText));
  const match = ORIENTATION.exec(latin((own?.content ?? texts.find(Boolean) ?? []).slice(0, LARGEST_EXIF)));
  const orientation = (match?.[1] ?? match?.[2] ?? "\x01").charCodeAt(0);
  if (orientation === 1) return { ...plain, moves };
  if (webp) {
    bytes.set([88, 88, 88, 88], own.start); // another name hides the chunk
    return { blob: new Blob([bytes], { type: "image/webp" }), orientation, moves };
  }
  const others = chunks.filter((chunk) => chunk !== own).map(({ start, end }) => bytes.subarray(start, end));
  return { blob: new Blob([bytes.subarray(0, 8), ...others], { type: "image/png" }), orientation, moves };
}
