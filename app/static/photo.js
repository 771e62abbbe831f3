/** A photo as the service reads it: upright, and its first frame. */
import { make } from "./dom.js";
import { storedImage } from "./orientation.js";

/** For each EXIF orientation, the canvas transformation that turns a stored picture of this width and height upright. */
const TURNS = {
  1: () => [1, 0, 0, 1, 0, 0],
  2: (width) => [-1, 0, 0, 1, width, 0],
  3: (width, height) => [-1, 0, 0, -1, width, height],
  4: (width, height) => [1, 0, 0, -1, 0, height],
  5: () => [0, 1, 1, 0, 0, 0],
  6: (width, height) => [0, 1, -1, 0, height, 0],
  7: (width, height) => [0, -1, -1, 0, height, width],
  8: (width) => [0, -1, 1, 0, 0, width],
};

function load(image, url) {
  return new Promise((resolve) => {
    image.onload = () => resolve(true);
    image.onerror = () => resolve(false);
    image.src = url;
  });
}

/** A blob as an image element, or null where the browser cannot show it. */
export async function imageOf(blob) {
  const url = URL.createObjectURL(blob);
  const image = new Image();
  const success = await load(image, url);
  URL.revokeObjectURL(url);
  return success ? image : null;
}

function turn(bitmap, orientation) {
  const sideways = orientation >= 5;
  const canvas = make("canvas", { width: sideways ? bitmap.height : bitmap.width, height: sideways ? bitmap.width : bitmap.height });
  const context = canvas.getContext("2d");
  context.setTransform(...TURNS[orientation](bitmap.width, bitmap.height));
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return canvas;
}

/** The file as an element with its size in pixels, or null where the browser cannot show it. */
export async function photoOf(file) {
  try {
    const { blob, orientation, moves } = await storedImage(file);
    if (orientation !== 1 || moves) {
      const canvas = turn(await createImageBitmap(blob), orientation);
      return { element: canvas, width: canvas.width, height: canvas.height };
    }
  } catch { /* a damaged file, of which the browser may still show a part */ }
  const image = await imageOf(file);
  return image && { element: image, width: image.naturalWidth, height: image.naturalHeight };
}

/** A small canvas of the file, `side` pixels high as it is stored, or null where the browser cannot show it. */
export async function thumbnailOf(file, side) {
  try {
    const { blob, orientation } = await storedImage(file);
    return turn(await createImageBitmap(blob, { resizeHeight: side, resizeQuality: "medium" }), orientation);
  } catch {
    return null;
  }
}
