/** A zip archive whose files are stored without compression (PKWARE's application note, 6.3.10): photos do not get smaller. */
import { Problem } from "./problems.js";

const LARGEST = 2 ** 32 - 1;
const MOST_FILES = 2 ** 16 - 1;

/** The CRC-32 of a blob: a gzip of it ends with that, and with its length. */
async function checksum(blob) {
  const gzip = await new Response(blob.stream().pipeThrough(new CompressionStream("gzip"))).arrayBuffer();
  return new DataView(gzip).getUint32(gzip.byteLength - 8, true);
}

/** Little-endian numbers as bytes: pairs of a value and its length. */
function bytesOf(...fields) {
  return Uint8Array.from(fields.flatMap(([value, length]) => Array.from({ length }, (_, index) => value >>> (8 * index))));
}

/** Names that do not repeat: the second `a.png` becomes `a (2).png`, or has a higher number where another file is named so. */
export function uniqueNames(names) {
  const own = new Set(names.map((name) => name.toLowerCase()));
  const earlier = new Set();
  return names.map((name) => {
    const [, start, end] = /^(.*?)(\.[^.]*)?$/s.exec(name);
    let unique = name;
    const isUsed = () => earlier.has(unique.toLowerCase()) || (unique !== name && own.has(unique.toLowerCase()));
    for (let count = 2; isUsed(); count += 1) unique = `${start} (${count})${end ?? ""}`;
    earlier.add(unique.toLowerCase());
    return unique;
  });
}

/** The archive of these files, each with `name` and `blob`, as a blob. Names must not repeat. Throws a `Problem` above 4 GB or 65,535 files. */
export async function zipOf(files, now = new Date()) {
  if (files.length > MOST_FILES || files.reduce((total, { blob }) => total + blob.size + 1000, 0) > LARGEST) {
    throw new Problem("Too much for one zip", "A zip can have up to 4 GB. Clear some photos, or use the command line.");
  }
  const time = (now.getHours() << 11) | (now.getMinutes() << 5) | (now.getSeconds() >> 1);
  const date = ((now.getFullYear() - 1980) << 9) | ((now.getMonth() + 1) << 5) | now.getDate();
  const parts = [];
  const directory = [];
  let offset = 0;
  for (const { name, blob } of files) {
    const path = new TextEncoder().encode(name.replace(/[/\\]/g, "_"));
    const sum = await checksum(blob);
    // version 2.0, names in UTF-8 (bit 11), method 0 (stored)
    const common = [[20, 2], [1 << 11, 2], [0, 2], [time, 2], [date, 2], [sum, 4], [blob.size, 4], [blob.size, 4], [path.length, 2], [0, 2]];
    const header = bytesOf([0x04034b50, 4], ...common);
    directory.push(bytesOf([0x02014b50, 4], [20, 2], ...common, [0, 2], [0, 2], [0, 2], [0, 4], [offset, 4]), path);
    parts.push(header, path, blob);
    offset += header.length + path.length + blob.size;
  }
  const length = directory.reduce((total, part) => total + part.length, 0);
  const end = bytesOf([0x06054b50, 4], [0, 2], [0, 2], [files.length, 2], [files.length, 2], [length, 4], [offset, 4], [0, 2]);
  return new Blob([...parts, ...directory, end], { type: "application/zip" });
}
