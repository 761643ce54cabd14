// The GPT of model.py, forward and backward, number by number, for the page that look.py writes.
// A matrix is a list of rows; W holds the weights by name.

const EPS = 1e-5; // as in model.py
const range = (n) => Array.from({ length: n }, (_, i) => i);
const sum = (xs) => xs.reduce((a, b) => a + b, 0);
const dot = (a, b) => sum(a.map((x, i) => x * b[i]));
const plus = (A, B) => A.map((row, i) => row.map((x, j) => x + B[i][j]));
const columns = (A) => A[0].map((_, j) => A.map((row) => row[j]));
const times = (A, B) => { const C = columns(B); return A.map((row) => C.map((column) => dot(row, column))); };
const timesTransposed = (A, B) => A.map((row) => B.map((other) => dot(row, other)));
const part = (A, start, size) => A.map((row) => row.slice(start, start + size));
const argmax = (xs) => xs.indexOf(Math.max(...xs));

function softmax(xs) {
  const largest = Math.max(...xs), es = xs.map((x) => Math.exp(x - largest)), total = sum(es);
  return es.map((e) => e / total);
}

function norm(X) { // rows over the root of the mean of their squares, and these roots
  const roots = X.map((row) => Math.sqrt(dot(row, row) / row.length + EPS));
  return { rows: X.map((row, t) => row.map((x) => x / roots[t])), roots };
}

const normBack = (G, { rows, roots }) => // dL/dx of y = x / r: (g - y mean(g y)) / r
  G.map((g, t) => { const m = dot(g, rows[t]) / g.length; return g.map((x, j) => (x - rows[t][j] * m) / roots[t]); });

function attention(i, x) { // what each place takes, and what the derivatives read
  const [q, k, v] = ["query", "key", "value"].map((name) => times(x, W[`${i}.${name}`]));
  const size = SIZES.width / SIZES.heads;
  const heads = range(SIZES.heads).map((h) => {
    const [qh, kh, vh] = [q, k, v].map((A) => part(A, h * size, size));
    const shares = qh.map((row, t) => softmax(range(t + 1).map((s) => dot(row, kh[s]) / Math.sqrt(size))));
    const taken = shares.map((ps) => range(size).map((j) => sum(ps.map((p, s) => p * vh[s][j]))));
    return { q: qh, k: kh, v: vh, shares, taken };
  });
  return { heads, out: times(x.map((_, t) => heads.flatMap((head) => head.taken[t])), W[`${i}.mix`]) };
}

function attentionBack(i, G, { heads }) {
  const size = SIZES.width / SIZES.heads, root = Math.sqrt(size), back = timesTransposed(G, W[`${i}.mix`]);
  const zeros = () => G.map(() => Array(SIZES.width).fill(0)), dq = zeros(), dk = zeros(), dv = zeros();
  heads.forEach(({ q, k, v, shares }, h) => shares.forEach((ps, t) => {
    const g = back[t].slice(h * size, (h + 1) * size), gp = ps.map((_, s) => dot(g, v[s])), mean = dot(gp, ps);
    ps.forEach((p, s) => {
      const slope = (p * (gp[s] - mean)) / root;
      for (let j = 0; j < size; j++) {
        dq[t][h * size + j] += slope * k[s][j];
        dk[s][h * size + j] += slope * q[t][j];
        dv[s][h * size + j] += p * g[j];
      }
    });
  }));
  const parts = [["query", dq], ["key", dk], ["value", dv]].map(([name, d]) => timesTransposed(d, W[`${i}.${name}`]));
  return plus(plus(parts[0], parts[1]), parts[2]);
}

function look(letters) { // the numbers of letters, a break first: all that the page shows
  const inside = [];
  let x = letters.map((a, t) => W.letters[a].map((e, j) => e + W.places[t][j]));
  for (const i of range(SIZES.layers)) {
    const first = norm(x), taken = attention(i, first.rows);
    x = plus(x, taken.out);
    const second = norm(x), hidden = times(second.rows, W[`${i}.up`]).map((row) => row.map((h) => Math.max(h, 0)));
    x = plus(x, times(hidden, W[`${i}.down`]));
    inside.push({ first, taken, second, hidden });
  }
  const last = norm(x), probabilities = times(last.rows, W.logits).map(softmax);
  const following = [...letters.slice(1), 0], losses = probabilities.map((ps, t) => -Math.log(ps[following[t]]));
  const n = letters.length;
  let g = probabilities.map((ps, t) => ps.map((p, a) => (p - (a === following[t] ? 1 : 0)) / n)); // of the mean loss
  g = normBack(timesTransposed(g, W.logits), last);
  for (const i of range(SIZES.layers).reverse()) {
    const { first, taken, second, hidden } = inside[i];
    const gh = timesTransposed(g, W[`${i}.down`]).map((row, t) => row.map((x, j) => (hidden[t][j] > 0 ? x : 0)));
    g = plus(g, normBack(timesTransposed(gh, W[`${i}.up`]), second));
    g = plus(g, normBack(attentionBack(i, g, taken), first));
  }
  return {
    loss: sum(losses) / n, losses, probabilities, following,
    attention: inside.map(({ taken }) => taken.heads.map((head) => head.shares)),
    slopes: timesTransposed(g, W.letters), // d loss / d (how much of each letter stands at each place)
  };
}

// --- the page ----------------------------------------------------------------------------------------------------------

const ALPHABET = [...TEXT.alphabet], shown = (a) => (ALPHABET[a] === "\n" ? "·" : ALPHABET[a] === " " ? "␣" : ALPHABET[a]);
const percent = (p) => `${(100 * p).toFixed(p < 0.1 ? 1 : 0)} %`;
const element = (tag, properties = {}, ...inside) => {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...inside);
  return made;
};

function grid(title, rows, columnNames, rowNames, cell) { // cell(r, c): null, or {strength, sign, note, marked}
  const table = element("table", { className: "grid" });
  table.append(element("caption", { textContent: title }));
  table.append(element("tr", {}, element("th"), ...columnNames.map((name) => element("th", { scope: "col", textContent: name }))));
  rows.forEach((r, i) => {
    const row = element("tr", {}, element("th", { scope: "row", textContent: rowNames[i] }));
    columnNames.forEach((_, c) => {
      const found = cell(r, c), td = element("td");
      if (found) {
        td.style.setProperty("--strength", `${Math.round(100 * Math.min(1, found.strength))}%`);
        td.className = `${found.sign < 0 ? "down" : "up"}${found.marked ? " marked" : ""}`;
        td.title = found.note;
      }
      row.append(td);
    });
    table.append(row);
  });
  return table;
}

function show() {
  const name = document.getElementById("name"), wrong = [...name.value].find((letter) => !ALPHABET.includes(letter));
  const message = document.getElementById("message");
  message.textContent = wrong ? `“${wrong}” is not in the alphabet` : "";
  if (wrong) return;
  const letters = [0, ...[...name.value].slice(0, SIZES.context - 1).map((letter) => ALPHABET.indexOf(letter))];
  const seen = look(letters), places = range(letters.length), read = letters.map(shown), all = range(ALPHABET.length);
  message.textContent = `loss ${seen.loss.toFixed(4)}: each next letter had a probability of ${percent(Math.exp(-seen.loss))}, in the geometric mean`;
  document.getElementById("probabilities").replaceChildren(grid("next", all, read, all.map(shown), (a, t) => {
    const p = seen.probabilities[t][a], marked = seen.following[t] === a;
    return { strength: Math.sqrt(p), sign: 1, marked, note: `${shown(a)} after ${read.slice(0, t + 1).join("")}: ${percent(p)}${marked ? `, which came: -log p = ${seen.losses[t].toFixed(3)}` : ""}` };
  }));
  document.getElementById("attention").replaceChildren(...seen.attention.flatMap((heads, i) => heads.map((shares, h) =>
    grid(SIZES.layers > 1 ? `layer ${i + 1}, head ${h + 1}` : `head ${h + 1}`, places, read, read, (t, s) =>
      s > t ? null : { strength: shares[t][s], sign: 1, note: `at ${read[t]} (place ${t + 1}), ${percent(shares[t][s])} from ${read[s]} (place ${s + 1})` }))));
  const changes = seen.slopes.map((row, t) => row.map((slope) => slope - row[letters[t]]));
  const most = Math.max(1e-12, ...changes.flat().map(Math.abs));
  document.getElementById("slopes").replaceChildren(grid("in its place", all, read, all.map(shown), (a, t) =>
    ({ strength: Math.abs(changes[t][a]) / most, sign: Math.sign(changes[t][a]), marked: letters[t] === a,
      note: `${shown(a)} for ${read[t]} (place ${t + 1}): ${changes[t][a] >= 0 ? "+" : "−"}${Math.abs(changes[t][a]).toFixed(4)}` })));
  const end = seen.probabilities.at(-1), best = [...all].sort((a, b) => end[b] - end[a]).slice(0, 6);
  document.getElementById("next").replaceChildren(...best.map((a) => {
    const button = element("button", { type: "button", textContent: `${shown(a)} ${percent(end[a])}`, disabled: a === 0 });
    button.onclick = () => { name.value += ALPHABET[a]; show(); };
    return button;
  }));
}

document.getElementById("name").oninput = show;
show();
