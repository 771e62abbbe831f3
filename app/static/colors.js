/** The colours in which the page shows the classes: made to be seen, unlike those of many label sets. */

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
