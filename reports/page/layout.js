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
  const columns = order.map((level, x) => column(levels.get(level), x, places));
  let top = Infinity;
  let bottom = -Infinity;
  for (const place of places.values()) {
    top = Math.min(top, place.y);
    bottom = Math.max(bottom, place.y);
  }
  for (const place of places.values()) place.y -= top;
  return { places, columns, levels: order, width: order.length, height: nodes.length ? bottom - top + 1 : 0 };
}

function column(nodes, x, places) {
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
  const shift = Math.round(drift / (nodes.length || 1));
  for (const place of made) {
    place.y -= shift;
    places.set(place.node.number, place);
  }
  return made;
}
