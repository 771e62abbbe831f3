/** Connected regions of a class map, and where a name fits best in them. */
import { reduced } from "./rle.js";

const LARGEST = 200; // cells a side: places of names need no more

/** For each cell, its distance to the nearest cell of another class or to the border, in cells. */
function distances({ width: columns, height: rows, ids: cells }) {
  const depth = new Float32Array(cells.length);
  const pass = (order, neighbours) => {
    for (const at of order) {
      const x = at % columns;
      const y = (at - x) / columns;
      for (const [dx, dy, step] of neighbours) {
        const inside = x + dx >= 0 && x + dx < columns && y + dy >= 0 && y + dy < rows;
        const other = at + dy * columns + dx;
        const distance = inside && cells[other] === cells[at] ? depth[other] + step : 0.5;
        if (distance < depth[at]) depth[at] = distance;
      }
    }
  };
  const forward = Uint32Array.from(cells, (_, at) => at);
  const sides = [[-1, 0, 1], [0, -1, 1], [-1, -1, Math.SQRT2], [1, -1, Math.SQRT2]];
  depth.fill(Infinity);
  pass(forward, sides);
  pass(forward.reverse(), sides.map(([dx, dy, step]) => [-dx, -dy, step]));
  return depth;
}

/** The regions, largest first: the id of the class, the share of the image, and the cells with their depths. */
export function regionsOf(map) {
  const grid = reduced(map, LARGEST);
  const { width: columns, height: rows, ids: cells } = grid;
  const depth = distances(grid);
  const marks = new Uint8Array(cells.length);
  const regions = [];
  for (let start = 0; start < cells.length; start += 1) {
    if (marks[start]) continue;
    const members = [start];
    marks[start] = 1;
    for (let next = 0; next < members.length; next += 1) {
      const at = members[next];
      const x = at % columns;
      for (const [other, inside] of [[at - 1, x > 0], [at + 1, x < columns - 1], [at - columns, true], [at + columns, true]]) {
        if (inside && other >= 0 && other < cells.length && !marks[other] && cells[other] === cells[at]) {
          marks[other] = 1;
          members.push(other);
        }
      }
    }
    regions.push({ id: cells[start], share: members.length / cells.length, members, depth, columns, rows });
  }
  return regions.sort((one, other) => other.share - one.share);
}

/** The point of the region that is farthest from its edge and from the edges of `box`; all are fractions of the image. */
export function centreOf({ members, depth, columns, rows }, { left, top, right, bottom }) {
  let best = 0;
  let centre = null;
  for (const at of members) {
    const x = (at % columns) + 0.5;
    const y = Math.floor(at / columns) + 0.5;
    const room = Math.min(depth[at], x - left * columns, right * columns - x, y - top * rows, bottom * rows - y);
    if (room > best) {
      best = room;
      centre = { x: x / columns, y: y / rows };
    }
  }
  return centre;
}
