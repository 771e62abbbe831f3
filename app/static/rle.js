/** COCO's compressed run lengths, as the server writes class maps: columns from the left, each from the top. */

const LARGEST_SIDE = 4096;
const NOTHING = 254;

/** The lengths of runs outside and inside the class, in turn. */
function runsOf(text) {
  const runs = new Uint32Array(text.length);
  let count = 0;
  for (let at = 0; at < text.length;) {
    let value = 0;
    let shift = 0;
    let code;
    do {
      code = text.charCodeAt(at++) - 48;
      value |= (code & 31) << shift;
      shift += 5;
    } while (code & 32);
    if (code & 16 && shift < 32) value |= -1 << shift;
    // from the third on, a run is written as its difference to the run two before
    runs[count] = count > 2 ? value + runs[count - 2] : value;
    count += 1;
  }
  return runs.subarray(0, count);
}

/** The map by row, scaled down (nearest) so that no side is over `largest`. `steps`: from a pixel of `ids` to those right and below. */
export function reduced({ width, height, ids }, largest, steps = [1, width]) {
  const scale = Math.min(1, largest / Math.max(width, height));
  const [w, h] = [width, height].map((side) => Math.max(1, Math.round(side * scale)));
  const sources = (length, count, step) => Uint32Array.from({ length: count }, (_, at) => Math.floor(((at + 0.5) * length) / count) * step);
  const [columns, rows] = [sources(width, w, steps[0]), sources(height, h, steps[1])];
  const result = new Uint8Array(w * h);
  const block = 64; // pixels that are read and written together, whichever way `ids` runs
  for (let left = 0; left < w; left += block) {
    for (let y = 0; y < h; y += 1) {
      for (let x = left; x < Math.min(w, left + block); x += 1) result[y * w + x] = ids[columns[x] + rows[y]];
    }
  }
  return { width: w, height: h, ids: result };
}

/** Class ids by row, of an image scaled down (nearest) so that no side is over `largest`. */
export function classMap({ size: [height, width], counts }, largest = LARGEST_SIDE) {
  const ids = new Uint8Array(width * height).fill(NOTHING);
  for (const [id, text] of Object.entries(counts)) {
    let start = 0;
    runsOf(text).forEach((run, index) => {
      if (index % 2) ids.fill(Number(id), start, start + run);
      start += run;
    });
  }
  return reduced({ width, height, ids }, largest, [height, 1]);
}
