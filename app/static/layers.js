/** What lies over the photo: the colours and outlines of classes, or the colours of confidence; and what is known of each pixel. */
import { HEAT, withDisplayColors } from "./colors.js";
import { imageOf } from "./photo.js";
import { regionsOf } from "./regions.js";
import { classMap, reduced } from "./rle.js";

const PIXELS_PER_RADIUS = 1600; // of outlines
const LARGEST_SIDE = 2048; // of their canvas: larger ones take long to paint
const DARK = 0x8c000000; // opacity, blue, green, red
const LIGHT = 0xebffffff;

export const isBackground = ({ id, name }) => id === 0 && /^_*background_*$/i.test(name.trim());

export const VOID = 255; // no class of the model

/** Whether no class of the model is there, but at most a background. */
export const isNothing = (classes) => classes.every((entry) => isBackground(entry) || entry.id === VOID);

/** Black adds nothing to a photo but darkness; so does a background. */
export const isClear = (entry) => isBackground(entry) || entry.color === "#000000";

/** The classes of an answer, with the colours in which the page shows them, and whether they are `clear` at first. */
export const classesOf = ({ classes }) =>
  withDisplayColors(classes).map((entry, at) => ({ ...entry, clear: isClear(classes[at]) }));

const wordOf = ([red, green, blue, opacity = 255]) => ((opacity << 24) | (blue << 16) | (green << 8) | red) >>> 0;

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

/** Gives the canvas this size, and `draw` its pixels: words with opacity, blue, green and red from the highest byte. */
function paint(canvas, { width, height }, draw) {
  Object.assign(canvas, { width, height });
  const image = new ImageData(width, height);
  draw(new Uint32Array(image.data.buffer));
  canvas.getContext("2d").putImageData(image, 0, 0);
}

/** Grey values 0 to 255 of a picture by row, at this size; null where the browser cannot show it. */
export async function greyOf(blob, { width, height }) {
  const image = await imageOf(blob);
  if (!image) return null;
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.imageSmoothingEnabled = false;
  context.drawImage(image, 0, 0, width, height);
  const { data } = context.getImageData(0, 0, width, height);
  const grey = new Uint8Array(width * height);
  for (let at = 0; at < grey.length; at += 1) grey[at] = data[4 * at];
  return grey;
}

/** Class and confidence of every pixel of an answer. `regions`: the connected ones, largest first; `grey`: see `greyOf`. */
export class Segments {
  constructor(answer) {
    const { width, height } = answer.image;
    const map = classMap(answer.class_map);
    const classes = classesOf(answer);
    Object.assign(this, { width, height, classes, map, regions: regionsOf(map), grey: null });
    this.byId = new Map(classes.map((entry) => [entry.id, entry]));
  }

  at(column, row) {
    const x = Math.min(this.map.width - 1, Math.floor((column * this.map.width) / this.width));
    const y = Math.min(this.map.height - 1, Math.floor((row * this.map.height) / this.height));
    const index = y * this.map.width + x;
    const entry = this.byId.get(this.map.ids[index]);
    return entry && { entry, confidence: this.grey ? this.grey[index] / 255 : null };
  }

  /** Paints the classes that `isShown`; the others stay clear. */
  paintClasses(canvas, isShown) {
    const { ids } = this.map;
    const colors = new Uint32Array(256);
    for (const entry of this.classes) {
      const color = [1, 3, 5].map((at) => Number.parseInt(entry.color.slice(at, at + 2), 16));
      if (isShown(entry)) colors[entry.id] = wordOf(color);
    }
    this.fill(canvas, (at) => colors[ids[at]]);
  }

  /** Paints lines along the borders of the classes that `isShown`: a light one on a dark one, which shows on any photo. */
  paintOutlines(canvas, isShown) {
    const map = reduced(this.map, LARGEST_SIDE);
    const borders = bordersOf(map, new Set(this.classes.filter(isShown).map(({ id }) => id)));
    const radius = Math.round(Math.max(map.width, map.height) / PIXELS_PER_RADIUS);
    paint(canvas, map, (words) => {
      mark(words, borders, 2 * radius + 1, DARK, map);
      mark(words, borders, radius, LIGHT, map);
    });
  }

  paintConfidence(canvas) {
    const { grey } = this;
    const colors = Uint32Array.from(HEAT, (color) => wordOf(color));
    this.fill(canvas, (at) => colors[grey[at]]);
  }

  fill(canvas, colorAt) {
    paint(canvas, this.map, (words) => { for (let at = 0; at < words.length; at += 1) words[at] = colorAt(at); });
  }
}
