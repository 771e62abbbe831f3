/** COCO's compressed run lengths, as the server writes class maps: columns from the left, each from the top. */

export const LARGEST_SIDE = 4096;
export const NOTHING = 254;

/** The lengths of runs outside and inside the class, in turn. */
export function runsOf(text) {
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

/** For each source index, the first kept index whose sample lies at or behind it. */
function firstIndices(length, reduced) {
  const first = new Int32Array(length + 1);
  let source = 0;
  for (let index = 0; index < reduced; index += 1) {
    const sample = Math.floor(((index + 0.5) * length) / reduced);
    while (source <= sample) first[source++] = index;
  }
  while (source <= length) first[source++] = reduced;
  return first;
}

function transpose(columns, width, height) {
  const rows = new Uint8Array(width * height);
  const block = 64;
  for (let top = 0; top < height; top += block) {
    const bottom = Math.min(height, top + block);
    for (let left = 0; left < width; left += block) {
      const right = Math.min(width, left + block);
      for (let x = left; x < right; x += 1) for (let y = top; y < bottom; y += 1) rows[y * width + x] = columns[x * height + y];
    }
  }
  return rows;
}

/** Class ids by row, of an image scaled down (nearest) so that no side is over `largest`. */
export function classMap({ size: [height, width], counts }, largest = LARGEST_SIDE) {
  const scale = Math.min(1, largest / Math.max(width, height));
  const [w, h] = [width, height].map((side) => Math.max(1, Math.round(side * scale)));
  const columnOf = firstIndices(width, w);
  const rowOf = firstIndices(height, h);
  const columns = new Uint8Array(w * h).fill(NOTHING);
  for (const [id, text] of Object.entries(counts)) {
    const runs = runsOf(text);
    let start = 0;
    for (let index = 0; index + 1 < runs.length; index += 2) {
      start += runs[index];
      const end = start + runs[index + 1];
      for (let x = Math.floor(start / height); start < end; x += 1) {
        const stop = Math.min(end, (x + 1) * height);
        const column = columnOf[x];
        if (column < columnOf[x + 1]) {
          const top = x * height;
          columns.fill(Number(id), column * h + rowOf[start - top], column * h + rowOf[stop - top]);
        }
        start = stop;
      }
    }
  }
  return { width: w, height: h, ids: transpose(columns, w, h) };
}
