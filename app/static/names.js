/** The names of the classes on their regions. */
import { inkOn } from "./colors.js";
import { make } from "./dom.js";
import { centreOf } from "./regions.js";

const LEAST_SHARE = 0.004; // of the image; smaller regions have no name
const MOST = 24;
const LARGEST_PART = 0.6; // of its region, that a name may cover

/** The regions that get a name, of the classes that are shown. */
export const namedRegions = (segments, isShown) =>
  segments.regions
    .filter(({ id, share }) => share >= LEAST_SHARE && segments.byId.has(id) && isShown(segments.byId.get(id)))
    .slice(0, MOST);

const overlaps = (one, other) =>
  one.left < other.right && other.left < one.right && one.top < other.bottom && other.top < one.bottom;

/**
 * Boxes of this width and height around the centres, inside of `bounds`. One that would cover most of its region (of `area`
 * square pixels), that is wider than the bounds, or that would cover another is left out.
 */
export function placedBoxes(entries, bounds) {
  const boxes = [];
  for (const { centre, width, height, area, item } of entries) {
    if (width * height > LARGEST_PART * area || width > bounds.right - bounds.left || height > bounds.bottom - bounds.top) continue;
    const within = (value, low, high) => Math.max(low, Math.min(high, value));
    const left = within(centre.x - width / 2, bounds.left, bounds.right - width);
    const top = within(centre.y - height / 2, bounds.top, bounds.bottom - height);
    const box = { left, top, right: left + width, bottom: top + height, item };
    if (!boxes.some((other) => overlaps(box, other))) boxes.push(box);
  }
  return boxes;
}

export class Names {
  constructor(container, viewer, divider) {
    Object.assign(this, { container, viewer, divider, labels: [], frame: 0 });
  }

  show(segments, isShown) {
    this.labels = namedRegions(segments, isShown).map((region) => {
      const { name, color } = segments.byId.get(region.id);
      const element = make("span", { className: "name-tag", textContent: name });
      Object.assign(element.style, { backgroundColor: color, color: inkOn(color) });
      return { region, element };
    });
    this.container.replaceChildren(...this.labels.map(({ element }) => element));
    this.place();
  }

  clear() {
    this.labels = [];
    this.container.replaceChildren();
  }

  /** Puts each name into the part of its region that is in view; once for several calls in a frame. */
  place() {
    cancelAnimationFrame(this.frame);
    this.frame = requestAnimationFrame(() => this.arrange());
  }

  arrange() {
    if (!this.labels.length) return;
    const { viewer } = this;
    const { clientWidth, clientHeight } = viewer.stage;
    const [width, height] = [viewer.width * viewer.scale, viewer.height * viewer.scale];
    const edge = this.divider.allowed ? (this.divider.value / 100) * clientWidth : 0;
    const bounds = {
      left: Math.max(edge, viewer.x), top: Math.max(0, viewer.y),
      right: Math.min(clientWidth, viewer.x + width), bottom: Math.min(clientHeight, viewer.y + height),
    };
    const view = {
      left: (bounds.left - viewer.x) / width, top: (bounds.top - viewer.y) / height,
      right: (bounds.right - viewer.x) / width, bottom: (bounds.bottom - viewer.y) / height,
    };
    const entries = this.labels.map(({ region, element }) => {
      const centre = centreOf(region, view);
      element.hidden = !centre;
      return centre && {
        centre: { x: centre.x * width + viewer.x, y: centre.y * height + viewer.y },
        width: element.offsetWidth, height: element.offsetHeight, area: region.share * width * height, item: element,
      };
    }).filter(Boolean);
    const boxes = new Map(placedBoxes(entries, bounds).map((box) => [box.item, box]));
    for (const { element } of this.labels) {
      const box = boxes.get(element);
      element.hidden = !box;
      if (box) element.style.transform = `translate(${Math.round(box.left)}px, ${Math.round(box.top)}px)`;
    }
  }
}
