/** The names of the classes on their regions. */
import { inkOn } from "./colors.js";
import { make } from "./dom.js";
import { centreOf } from "./regions.js";

const LEAST_SHARE = 0.004; // of the image; smaller regions have no name
const MOST = 24;
const LARGEST_PART = 0.6; // of its region, that a name may cover

const within = (value, low, high) => Math.max(low, Math.min(high, value));
const overlap = (one, other) =>
  one.left < other.right && other.left < one.right && one.top < other.bottom && other.top < one.bottom;

export class Names {
  constructor(container, viewer, divider) {
    Object.assign(this, { container, viewer, divider, labels: [], frame: 0 });
  }

  /** Names the regions of the classes that `isShown`. */
  show({ regions, byId }, isShown) {
    const named = regions.filter(({ id, share }) => share >= LEAST_SHARE && byId.has(id) && isShown(byId.get(id)));
    this.labels = named.slice(0, MOST).map((region) => {
      const { name, color } = byId.get(region.id);
      const element = make("span", { className: "name-tag", textContent: name });
      Object.assign(element.style, { backgroundColor: color, color: inkOn(color) });
      return { region, element };
    });
    this.container.replaceChildren(...this.labels.map(({ element }) => element));
    this.place();
  }

  /** Puts each name into the part of its region that is in view; once for several calls in a frame. */
  place() {
    cancelAnimationFrame(this.frame);
    this.frame = requestAnimationFrame(() => this.arrange());
  }

  arrange() {
    const { viewer } = this;
    const { clientWidth, clientHeight } = viewer.stage;
    const [width, height] = [viewer.width * viewer.scale, viewer.height * viewer.scale];
    const edge = this.divider.allowed ? (this.divider.value / 100) * clientWidth : 0;
    const bounds = {
      left: Math.max(edge, viewer.x), top: Math.max(0, viewer.y),
      right: Math.min(clientWidth, viewer.x + width), bottom: Math.min(clientHeight, viewer.y + height),
    };
    const boxes = [];
    for (const { region, element } of this.labels) {
      const box = this.boxOf(region, element, bounds, width, height);
      element.hidden = !box || boxes.some((other) => overlap(box, other));
      if (element.hidden) continue;
      boxes.push(box);
      element.style.transform = `translate(${Math.round(box.left)}px, ${Math.round(box.top)}px)`;
    }
  }

  /** Where the name lies in its region of the image of this size; null if it would cover most of it or is wider than the bounds. */
  boxOf(region, { offsetWidth, offsetHeight }, { left, top, right, bottom }, width, height) {
    const { x, y } = this.viewer;
    const view = { left: (left - x) / width, top: (top - y) / height, right: (right - x) / width, bottom: (bottom - y) / height };
    const centre = centreOf(region, view);
    const tooLarge = offsetWidth * offsetHeight > LARGEST_PART * region.share * width * height;
    if (!centre || tooLarge || offsetWidth > right - left || offsetHeight > bottom - top) return null;
    const box = {
      left: within(centre.x * width + x - offsetWidth / 2, left, right - offsetWidth),
      top: within(centre.y * height + y - offsetHeight / 2, top, bottom - offsetHeight),
    };
    return { ...box, right: box.left + offsetWidth, bottom: box.top + offsetHeight };
  }
}
