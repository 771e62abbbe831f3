/** What lies over the photo: the colours of classes, or of confidence; and what is known of each pixel. */
import { HEAT, withDisplayColors } from "./colors.js";
import { paintOutlines } from "./outlines.js";
import { imageOf } from "./photo.js";
import { regionsOf } from "./regions.js";
import { classMap } from "./rle.js";

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

  /** Paints the outlines of the classes that `isShown`. */
  paintOutlines(canvas, isShown) {
    paintOutlines(canvas, this.map, new Set(this.classes.filter(isShown).map(({ id }) => id)));
  }

  paintConfidence(canvas) {
    const { grey } = this;
    const colors = Uint32Array.from(HEAT, (color) => wordOf(color));
    this.fill(canvas, (at) => colors[grey[at]]);
  }

  /** Paints the colour of each pixel, as opacity, blue, green and red from the highest byte. */
  fill(canvas, colorAt) {
    const { width, height } = this.map;
    Object.assign(canvas, { width, height });
    const image = new ImageData(width, height);
    const words = new Uint32Array(image.data.buffer);
    for (let at = 0; at < words.length; at += 1) words[at] = colorAt(at);
    canvas.getContext("2d").putImageData(image, 0, 0);
  }
}
