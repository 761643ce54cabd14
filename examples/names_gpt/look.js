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

// --- the page -------------------------------------------------------------------------------------------------------

const ALPHABET = [...TEXT.alphabet], ALL = range(ALPHABET.length);
const shown = (a) => ({ "\n": "·", " ": "␣" })[ALPHABET[a]] ?? ALPHABET[a];
const percent = (p) => `${(100 * p).toFixed(p < 0.1 ? 1 : 0)} %`;
const signed = (x) => `${x < 0 ? "−" : "+"}${Math.abs(x).toFixed(4)}`;
const at = (id) => document.getElementById(id);

function element(tag, properties = {}, ...inside) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...inside);
  return made;
}

function grid(title, rows, columns, cell) { // names, and cell(row, column): null, or what it shows
  const head = columns.map((name) => element("th", { scope: "col", textContent: name }));
  const table = element("table", { className: "grid" }, element("caption", { textContent: title }));
  table.append(element("tr", {}, element("th"), ...head));
  rows.forEach((name, r) => {
    const cells = columns.map((_, c) => square(cell(r, c)));
    table.append(element("tr", {}, element("th", { scope: "row", textContent: name }), ...cells));
  });
  return table;
}

function square(given) { // strength from 0 to 1, in the colour of its sign; a note; a frame if it is marked
  if (!given) return element("td");
  const { strength, note, sign = 1, marked = false } = given;
  const made = element("td", { title: note, className: `${sign < 0 ? "down" : "up"}${marked ? " marked" : ""}` });
  made.style.setProperty("--strength", `${Math.round(100 * strength)}%`);
  return made;
}

function showProbabilities({ probabilities, following, losses }, read) {
  return grid("next", ALL.map(shown), read, (a, t) => {
    const p = probabilities[t][a], marked = following[t] === a;
    const came = marked ? `, which came: −log p = ${losses[t].toFixed(3)}` : "";
    const note = `${shown(a)} after ${read.slice(0, t + 1).join("")}: ${percent(p)}${came}`;
    return { strength: Math.sqrt(p), marked, note };
  });
}

function showAttention({ attention }, read) {
  return attention.flatMap((heads, i) => heads.map((shares, h) => {
    const layer = attention.length > 1 ? `layer ${i + 1}, ` : "";
    return grid(`${layer}head ${h + 1}`, read, read, (t, s) => s > t ? null : {
      strength: shares[t][s],
      note: `at ${read[t]} (place ${t + 1}) ${percent(shares[t][s])} from ${read[s]} (place ${s + 1})`,
    });
  }));
}

function showSlopes({ slopes }, letters, read) { // against the letter that stands there
  const changes = slopes.map((row, t) => row.map((slope) => slope - row[letters[t]]));
  const most = Math.max(1e-12, ...changes.flat().map(Math.abs));
  return grid("in its place", ALL.map(shown), read, (a, t) => ({
    strength: Math.abs(changes[t][a]) / most,
    sign: Math.sign(changes[t][a]),
    marked: letters[t] === a,
    note: `${shown(a)} for ${read[t]} (place ${t + 1}): ${signed(changes[t][a])}`,
  }));
}

function showNext({ probabilities }, full) { // the likeliest six, to go on with
  const end = probabilities.at(-1), best = [...ALL].sort((a, b) => end[b] - end[a]).slice(0, 6);
  return best.map((a) => {
    const button = element("button", { type: "button", textContent: `${shown(a)} ${percent(end[a])}` });
    button.disabled = a === 0 || full;
    button.onclick = () => { at("name").value += ALPHABET[a]; show(); };
    return button;
  });
}

function show() {
  const name = [...at("name").value], wrong = name.find((letter) => !ALPHABET.includes(letter));
  if (wrong) {
    at("message").textContent = `“${wrong}” is not in the alphabet`;
    return;
  }
  const letters = [0, ...name.slice(0, SIZES.context - 1).map((letter) => ALPHABET.indexOf(letter))];
  const seen = look(letters), read = letters.map(shown), mean = percent(Math.exp(-seen.loss));
  at("message").textContent = `loss ${seen.loss.toFixed(4)}: on geometric average, each letter had a probability of ${mean}`;
  at("next").replaceChildren(...showNext(seen, letters.length === SIZES.context));
  at("probabilities").replaceChildren(showProbabilities(seen, read));
  at("attention").replaceChildren(...showAttention(seen, read));
  at("slopes").replaceChildren(showSlopes(seen, letters, read));
}

at("name").oninput = show;
show();
