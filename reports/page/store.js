// The data of the page: blocks of JSON in the document, each parsed when it is first asked for, or a newer state that a
// live page was sent.

const parsed = new Map();
let sent = null;

function block(id) {
  if (!parsed.has(id)) {
    const element = document.getElementById(id);
    parsed.set(id, element ? JSON.parse(element.textContent) : null);
  }
  return parsed.get(id);
}

export function view() {
  return sent ? sent : block("view");
}

export function replaceAll(data) {
  sent = data;
}

export function finalists() {
  return (sent ? sent.final : block("final")) || [];
}

export function criteriaReasons(query) {
  const ledger = (sent ? sent.ledger : block("ledger")) || {};
  return ledger[String(query)] || null;
}

// The texts of the node at a place in the list of nodes.
export function detailAt(place) {
  if (sent) return sent.details[place];
  const size = Number(document.documentElement.dataset.block);
  return block("details-" + Math.floor(place / size))[place % size];
}
