/** What stands at the pixel that is pointed at: its class and, if it is known, how sure the model is. */
import { $, percent } from "./dom.js";

/** Shows the pixel beside `spot`, a place on the stage, and says it where the keyboard points; nothing without a pixel. */
export function showReading(spot, pixel) {
  $("reading").hidden = $("spot").hidden = !pixel;
  if (!pixel) return;
  const confidence = pixel.confidence === null ? "" : percent(pixel.confidence);
  $("reading-swatch").style.backgroundColor = pixel.entry.color;
  $("reading-name").textContent = pixel.entry.name;
  $("reading-sure").textContent = confidence;
  const left = Math.min(spot.x + 14, $("stage").clientWidth - $("reading").offsetWidth - 6);
  const top = spot.y > 60 ? spot.y - 44 : spot.y + 22;
  $("reading").style.transform = `translate(${Math.max(6, left)}px, ${top}px)`;
  $("spot").hidden = spot.how !== "keyboard";
  $("spot").style.transform = `translate(${spot.x}px, ${spot.y}px)`;
  if (spot.how === "keyboard") {
    $("spoken").textContent = `${pixel.entry.name}${confidence && `, ${confidence}`}; column ${spot.column}, row ${spot.row}`;
  }
}
