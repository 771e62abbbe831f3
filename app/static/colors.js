/** The colours in which the page shows classes and confidence: made to be seen, unlike those of many label sets. */

const STEPS = 256;

/** Black or white, whichever is better to read on this colour (WCAG 2.2, relative luminance). */
export function inkOn(color) {
  const [red, green, blue] = [1, 3, 5].map((at) => {
    const value = Number.parseInt(color.slice(at, at + 2), 16) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 ? "#000" : "#fff";
}

/** The classes of a model with `color` as the page shows it. */
export const withDisplayColors = (classes) =>
  classes.map((entry) => ({ ...entry, color: entry.display_color ?? entry.color }));

/** The most transparent red, green, blue and opacity (0 to 255) that give this colour on white. */
function overWhite(color) {
  const opacity = 255 - Math.min(...color);
  return [...color.map((value) => (opacity ? Math.max(0, Math.round(255 - (255 * (255 - value)) / opacity)) : 0)), opacity];
}

/** On white, from red to white in OKLCH, in which even steps look even (B. Ottosson, 2020). */
function onWhite() {
  const context = new OffscreenCanvas(STEPS, 1).getContext("2d", { willReadFrequently: true });
  return Array.from({ length: STEPS }, (_, index) => {
    const share = index / (STEPS - 1);
    context.fillStyle = `oklch(${0.5 + 0.5 * share} ${0.2 * (1 - share)} ${20 + 60 * share})`;
    context.fillRect(index, 0, 1, 1);
    return [...context.getImageData(index, 0, 1, 1).data.subarray(0, 3)];
  });
}

/** Red, green, blue and opacity (0 to 255) for each grey value of a confidence picture: strong where the model is unsure. */
export const HEAT = onWhite().map(overWhite);

/** Draws the scale from 0 (left) to 1 (right). */
export function drawScale(canvas) {
  Object.assign(canvas, { width: STEPS, height: 1 });
  const image = new ImageData(STEPS, 1);
  HEAT.forEach((color, index) => image.data.set(color, 4 * index));
  canvas.getContext("2d").putImageData(image, 0, 0);
}
