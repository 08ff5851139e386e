// A word diff: what was added and what was taken away, by the shortest edit script (Myers 1986, O(ND)).

const LONGEST = 1500; // edits after which two texts are shown whole, one after the other

// Return [[kind, text], ...] with kind "same", "add" or "cut"; neighbours of one kind are joined.
export function wordDiff(before, after) {
  const first = words(before);
  const second = words(after);
  let begin = 0;
  while (begin < first.length && begin < second.length && first[begin] === second[begin]) begin++;
  let end = 0;
  while (
    end < first.length - begin &&
    end < second.length - begin &&
    first[first.length - 1 - end] === second[second.length - 1 - end]
  )
    end++;
  const middle = edits(first.slice(begin, first.length - end), second.slice(begin, second.length - end));
  return joined([
    ...first.slice(0, begin).map((word) => ["same", word]),
    ...middle,
    ...first.slice(first.length - end).map((word) => ["same", word]),
  ]);
}

function words(text) {
  return text.match(/\s+|[\p{L}\p{N}_'’-]+|[^\s\p{L}\p{N}]/gu) || [];
}

function edits(first, second) {
  const most = Math.min(first.length + second.length, LONGEST);
  const trail = [];
  let furthest = new Map([[1, 0]]);
  for (let d = 0; d <= most; d++) {
    trail.push(furthest);
    const next = new Map(furthest);
    for (let k = -d; k <= d; k += 2) {
      const down = k === -d || (k !== d && get(furthest, k - 1) < get(furthest, k + 1));
      let x = down ? get(furthest, k + 1) : get(furthest, k - 1) + 1;
      while (x < first.length && x - k < second.length && first[x] === second[x - k]) x++;
      next.set(k, x);
      if (x >= first.length && x - k >= second.length) return back(trail, first, second);
    }
    furthest = next;
  }
  return [...first.map((word) => ["cut", word]), ...second.map((word) => ["add", word])];
}

function get(furthest, k) {
  return furthest.has(k) ? furthest.get(k) : -1;
}

function back(trail, first, second) {
  const found = [];
  let x = first.length;
  let y = second.length;
  for (let d = trail.length - 1; d >= 0; d--) {
    const furthest = trail[d];
    const k = x - y;
    const down = k === -d || (k !== d && get(furthest, k - 1) < get(furthest, k + 1));
    const from = down ? k + 1 : k - 1;
    const oldX = d === 0 ? 0 : get(furthest, from);
    const oldY = d === 0 ? 0 : oldX - from;
    while (x > oldX && y > oldY) found.push(["same", first[(x--, y--, x)]]);
    if (d > 0) found.push(down ? ["add", second[--y]] : ["cut", first[--x]]);
  }
  return found.reverse();
}

function joined(parts) {
  const result = [];
  for (const [kind, text] of parts) {
    const last = result[result.length - 1];
    if (last && last[0] === kind) last[1] += text;
    else result.push([kind, text]);
  }
  return result;
}
