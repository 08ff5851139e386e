// Where each candidate stands in the drawing: a column per level, children beside their parents, none over another.

// nodes: summaries; returns {places: Map number -> {x, y, node}, columns: [[place, ...]], width, height} in cells.
export function layout(nodes) {
  const places = new Map();
  const levels = new Map();
  for (const node of nodes) {
    if (!levels.has(node.level)) levels.set(node.level, []);
    levels.get(node.level).push(node);
  }
  const order = [...levels.keys()].sort((one, two) => one - two);
  const tallest = Math.max(...order.map((level) => levels.get(level).length), 0) * 1.1;
  const columns = order.map((level, x) => column(levels.get(level), x, places, tallest));
  let top = Infinity;
  let bottom = -Infinity;
  for (const place of places.values()) {
    top = Math.min(top, place.y);
    bottom = Math.max(bottom, place.y);
  }
  for (const place of places.values()) place.y -= top;
  return { places, columns, levels: order, width: order.length, height: nodes.length ? bottom - top + 1 : 0 };
}

// A column stands beside its parents, as far as it does not leave the band of the tallest one: what is kept is often at
// one end of its column, and the drawing would run away to that side.
function column(nodes, x, places, tallest) {
  const groups = new Map();
  for (const node of nodes) {
    if (!groups.has(node.parent)) groups.set(node.parent, []);
    groups.get(node.parent).push(node);
  }
  const above = (parent) => (places.has(parent) ? places.get(parent).y : 0);
  const sorted = [...groups.entries()].sort(([one], [two]) => above(one) - above(two));
  const made = [];
  let next = -Infinity;
  let drift = 0;
  for (const [parent, children] of sorted) {
    let y = Math.max(next, above(parent) - (children.length - 1) / 2);
    drift += (y - (above(parent) - (children.length - 1) / 2)) * children.length;
    for (const node of children) made.push({ x, y: y++, node });
    next = y + 0.25;
  }
  const height = made[made.length - 1].y - made[0].y;
  const wanted = made[0].y - Math.round(drift / nodes.length);
  const top = Math.max(-tallest / 2, Math.min(wanted, tallest / 2 - height));
  const shift = made[0].y - top;
  for (const place of made) {
    place.y -= shift;
    places.set(place.node.number, place);
  }
  return made;
}
