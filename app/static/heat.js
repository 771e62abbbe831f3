/** Colours for a confidence from 0 to 1: strong where the model is unsure, transparent where it is sure. */

const STEPS = 256;
// on white, in OKLCH, at a confidence of 0 and of 1: even steps look even (B. Ottosson, 2020)
const UNSURE = { lightness: 0.5, chroma: 0.2, hue: 20 };
const SURE = { lightness: 1, chroma: 0, hue: 80 };

/** OKLCH to red, green and blue from 0 to 255, cut to what a screen shows. */
function screenColor({ lightness, chroma, hue }) {
  const angle = (hue * Math.PI) / 180;
  const [a, b] = [chroma * Math.cos(angle), chroma * Math.sin(angle)];
  const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3;
  const linear = [
    4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
    -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
    -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s,
  ];
  return linear.map((value) => {
    const inside = Math.min(1, Math.max(0, value));
    return Math.round(255 * (inside <= 0.0031308 ? 12.92 * inside : 1.055 * inside ** (1 / 2.4) - 0.055));
  });
}

/** The most transparent red, green, blue and opacity (0 to 255) that give this colour on white. */
function overWhite(color) {
  const opacity = 255 - Math.min(...color);
  return [...color.map((value) => (opacity ? Math.max(0, Math.round(255 - (255 * (255 - value)) / opacity)) : 0)), opacity];
}

/** Red, green, blue and opacity (0 to 255) for each grey value of a confidence picture. */
export const HEAT = Array.from({ length: STEPS }, (_, index) => {
  const share = index / (STEPS - 1);
  const between = (name) => UNSURE[name] + (SURE[name] - UNSURE[name]) * share;
  return overWhite(screenColor({ lightness: between("lightness"), chroma: between("chroma"), hue: between("hue") }));
});

/** Draws the scale from 0 (left) to 1 (right). */
export function drawScale(canvas) {
  Object.assign(canvas, { width: STEPS, height: 1 });
  const image = new ImageData(STEPS, 1);
  HEAT.forEach((color, index) => image.data.set(color, 4 * index));
  canvas.getContext("2d").putImageData(image, 0, 0);
}
