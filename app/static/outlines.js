/** Lines along the borders of the classes that are shown: a light one on a dark one, which shows on any photo. */
import { reduced } from "./rle.js";

const PIXELS_PER_RADIUS = 1600;
const LARGEST_SIDE = 2048; // of the canvas: larger ones take long to paint
const DARK = 0x8c000000; // opacity, blue, green, red
const LIGHT = 0xebffffff;

/** The pixels (their indices) whose right or lower neighbour belongs to another class, where one of both is shown. */
function bordersOf({ width, height, ids }, visibleIds) {
  const borders = [];
  const groups = Uint8Array.from({ length: 256 }, (_, id) => (visibleIds.has(id) ? 1 : 0));
  const differ = (one, other) => one !== other && (groups[one] || groups[other]);
  for (let y = 0, at = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1, at += 1) {
      if ((x + 1 < width && differ(ids[at], ids[at + 1])) || (y + 1 < height && differ(ids[at], ids[at + width]))) borders.push(at);
    }
  }
  return borders;
}

/** Sets the word of every pixel within `radius` of these. */
function mark(words, indices, radius, word, { width, height }) {
  for (const at of indices) {
    const x = at % width;
    const y = (at - x) / width;
    const right = Math.min(width - 1, x + radius);
    for (let row = Math.max(0, y - radius); row <= Math.min(height - 1, y + radius); row += 1) {
      words.fill(word, row * width + Math.max(0, x - radius), row * width + right + 1);
    }
  }
}

/** Paints the outlines of the classes with these ids over the whole canvas, which gets a size of its own. */
export function paintOutlines(canvas, classMap, visibleIds) {
  const map = reduced(classMap, LARGEST_SIDE);
  Object.assign(canvas, { width: map.width, height: map.height });
  const image = new ImageData(map.width, map.height);
  const words = new Uint32Array(image.data.buffer);
  const borders = bordersOf(map, visibleIds);
  const radius = Math.round(Math.max(map.width, map.height) / PIXELS_PER_RADIUS);
  mark(words, borders, 2 * radius + 1, DARK, map);
  mark(words, borders, radius, LIGHT, map);
  canvas.getContext("2d").putImageData(image, 0, 0);
}
