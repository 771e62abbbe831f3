/** What lies in the stage: the photo, the classes' colours over it, and what is known of each pixel. */
import { LARGEST_SIDE, classMap } from "./rle.js";

/** Black adds nothing to a photo but darkness; so does a background. */
export const isClear = ({ id, name, color }) =>
  (id === 0 && /^_*background_*$/i.test(name.trim())) || color === "#000000";

const MAGENTA = 0xc800d4; // blue, green, red: of few photos

function loaded(image, url) {
  return new Promise((resolve) => {
    image.onload = () => resolve(true);
    image.onerror = () => resolve(false);
    image.src = url;
  });
}

/** A picture that moves would move away from its mask, which is that of its first frame. */
async function stillUrl(file) {
  if (file.type !== "image/gif") return URL.createObjectURL(file);
  try {
    const frame = await createImageBitmap(file);
    const canvas = new OffscreenCanvas(frame.width, frame.height);
    canvas.getContext("2d").drawImage(frame, 0, 0);
    return URL.createObjectURL(await canvas.convertToBlob());
  } catch {
    return URL.createObjectURL(file);
  }
}

/** The file as an image element, or null where the browser cannot show it. */
export async function photoOf(file) {
  const url = await stillUrl(file);
  const image = new Image();
  const seen = await loaded(image, url);
  URL.revokeObjectURL(url);
  return seen ? image : null;
}

/** Grey values 0 to 255 of a picture by row, at the class map's size; null where the browser cannot show it. */
async function greyOf(blob, width, height) {
  const image = new Image();
  const url = URL.createObjectURL(blob);
  const seen = await loaded(image, url);
  URL.revokeObjectURL(url);
  if (!seen) return null;
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.imageSmoothingEnabled = false;
  context.drawImage(image, 0, 0, width, height);
  const { data } = context.getImageData(0, 0, width, height);
  const grey = new Uint8Array(width * height);
  for (let at = 0; at < grey.length; at += 1) grey[at] = data[4 * at];
  return grey;
}

/** Class and confidence of every pixel of an answer. */
export class Segments {
  constructor(answer) {
    const { width, height } = answer.image;
    const map = classMap(answer.class_map, LARGEST_SIDE);
    Object.assign(this, { width, height, classes: answer.classes, map, grey: null });
    this.byId = new Map(answer.classes.map((entry) => [entry.id, entry]));
  }

  /** Takes the confidence of every pixel from a grey picture of the image's size. */
  async read(blob) {
    this.grey = await greyOf(blob, this.map.width, this.map.height);
  }

  at(column, row) {
    const x = Math.min(this.map.width - 1, Math.floor((column * this.map.width) / this.width));
    const y = Math.min(this.map.height - 1, Math.floor((row * this.map.height) / this.height));
    const index = y * this.map.width + x;
    const entry = this.byId.get(this.map.ids[index]);
    return entry && { entry, confidence: this.grey ? this.grey[index] / 255 : null };
  }

  /** Paints the classes that `isShown`; the others stay clear. */
  paint(canvas, isShown) {
    const { ids } = this.map;
    const colors = new Uint32Array(256);
    for (const entry of this.classes) {
      const [red, green, blue] = [1, 3, 5].map((at) => Number.parseInt(entry.color.slice(at, at + 2), 16));
      if (isShown(entry)) colors[entry.id] = ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
    }
    this.fill(canvas, (at) => colors[ids[at]]);
  }

  /** Paints magenta where the network is unsure: opaque at a confidence of a half or less. */
  paintUnsure(canvas) {
    const { grey } = this;
    this.fill(canvas, (at) => ((Math.min(255, 2 * (255 - grey[at])) << 24) | MAGENTA) >>> 0);
  }

  /** Paints the colour of each pixel, as opacity, blue, green and red from the highest byte. */
  fill(canvas, colorAt) {
    const { width, height } = this.map;
    if (canvas.width !== width) canvas.width = width;
    if (canvas.height !== height) canvas.height = height;
    const image = new ImageData(width, height);
    const words = new Uint32Array(image.data.buffer);
    for (let at = 0; at < words.length; at += 1) words[at] = colorAt(at);
    canvas.getContext("2d").putImageData(image, 0, 0);
  }
}
