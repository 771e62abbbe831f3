/** The picture that the page shows, as a file: the photo, the colours at their opacity, and the names. */
import { inkOn } from "./colors.js";
import { make } from "./dom.js";
import { namedRegions, placedBoxes } from "./names.js";
import { centreOf } from "./regions.js";

const QUALITY = 0.92;
const WHOLE = { left: 0, top: 0, right: 1, bottom: 1 };

/** Draws the names in a size that suits the picture. */
function drawNames(context, segments, isShown) {
  const { width, height } = segments;
  const size = Math.max(11, Math.round(Math.max(width, height) / 56));
  const pad = Math.round(size * 0.35);
  Object.assign(context, { font: `600 ${size}px system-ui, sans-serif`, textBaseline: "middle", textAlign: "center" });
  const entries = namedRegions(segments, isShown).map((region) => {
    const entry = segments.byId.get(region.id);
    const centre = centreOf(region, WHOLE);
    return centre && {
      centre: { x: centre.x * width, y: centre.y * height },
      width: context.measureText(entry.name).width + 4 * pad, height: size + 2 * pad, area: region.share * width * height, item: entry,
    };
  }).filter(Boolean);
  for (const { left, top, right, bottom, item } of placedBoxes(entries, { left: 0, top: 0, right: width, bottom: height })) {
    const ink = inkOn(item.color);
    const edge = Math.max(1, size / 12);
    context.beginPath();
    context.roundRect(left + edge / 2, top + edge / 2, right - left - edge, bottom - top - edge, size * 0.4);
    Object.assign(context, { fillStyle: item.color, strokeStyle: ink, lineWidth: edge });
    context.fill();
    context.stroke();
    context.fillStyle = ink;
    context.fillText(item.name, (left + right) / 2, (top + bottom) / 2 + size * 0.05);
  }
}

/**
 * A JPEG of the photo's size. `colors` and `outlines` (or null) are the canvases that lie over the photo. `isShown` says which classes get their names;
 * null draws no names. Null where the browser cannot make a picture of this size.
 */
export async function overlayPicture({ photo, segments, colors, outlines, opacity, isShown }) {
  const { width, height } = segments;
  const canvas = make("canvas", { width, height });
  const context = canvas.getContext("2d", { alpha: false });
  if (!context) return null;
  context.fillStyle = "#fff"; // transparent pixels lie over white, as they do for the network
  context.fillRect(0, 0, width, height);
  context.drawImage(photo, 0, 0, width, height);
  context.globalAlpha = opacity;
  context.imageSmoothingEnabled = false;
  context.drawImage(colors, 0, 0, width, height);
  context.globalAlpha = 1;
  if (outlines) context.drawImage(outlines, 0, 0, width, height);
  if (isShown) drawNames(context, segments, isShown);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", QUALITY));
}
