// The playground: what is typed becomes a graph, its picture, and the player's to show.

const values = new Map();  // for each name its number, also of names that are gone for the moment
let shape = "", mode = "step", announced = null;

// The number of a name that has none yet.
function valueOf(name) {
  const { usual, fresh } = LANGUAGE, next = fresh[values.size % fresh.length];
  if (!values.has(name)) values.set(name, Object.hasOwn(usual, name) ? usual[name] : next);
  return values.get(name);
}

function read(text) {
  const tree = new Parser(text).whole(), builder = new Builder(text.replace(/\s/g, " "), valueOf);
  const root = builder.result(tree);
  if (root.constant) throw new Mistake(tree.from, "expected a name with a value, such as x", text);
  const next = graphOf(root, [...builder.leaves.values()]);
  const count = next.nodes.length;
  if (count > MOST) throw new Mistake(tree.from, `expected at most ${MOST} nodes, got ${count}`, text);
  return { next, trouble: builder.trouble };
}

// Reads what is typed; where it is wrong, the graph before it stays and the mistake is shown.
function typed(step = frame, names = [...learned]) {
  const text = at("expression").value;
  grow();
  let found;
  try {
    found = read(text);
  } catch (error) {
    if (!(error instanceof Mistake)) throw error;
    showMistake(error, true);
    return;
  }
  showMistake(found.trouble, false);
  const looks = JSON.stringify(found.next.nodes.map((node) => node.constant ? node : { ...node, data: 0 }));
  if (looks !== shape) {
    shape = looks;
    unfold(found.next, step, names);
  } else {
    moveTo(Object.fromEntries(found.next.nodes.flatMap((node, i) => node.leaf ? [[i, node.data]] : [])));
    go(step);
  }
  document.title = `${text.slice(0, 80)} · Playground`;
  remember();
}

function unfold(next, step, names) {
  predicted = null;
  place(next);
  present(next, {}, step);
  offerParameters(names);
  setMode(mode);
}

// Puts the picture into the page.
function place(next) {
  const { clientWidth } = at("picture"), high = parseFloat(getComputedStyle(at("picture")).maxHeight);
  at("picture").replaceChildren(drawing(next, { width: clientWidth - 16, height: high - 16 }));
}

function showMistake(mistake, stops) {
  at("expression").setAttribute("aria-invalid", stops);
  at("mistake").className = stops ? "stops" : "";
  at("mistake").replaceChildren();
  if (!mistake) return;
  make("p", at("mistake"), mistake.what);
  const shown = make("pre", at("mistake"), `${mistake.shown}\n`, { "aria-hidden": true });
  make("span", shown, mistake.caret, { class: "caret" });
}

function grow() {
  at("expression").style.height = "auto";
  at("expression").style.height = `${at("expression").scrollHeight + 4}px`;
}

// --- modes ---

function setMode(next) {
  mode = next;
  document.querySelector(`#modes input[value=${mode}]`).checked = true;
  document.body.dataset.mode = mode;
  if (mode !== "descend") halt();
  if (mode === "step") predicted = null;
  if (mode === "descend") {
    predicted = null;
    go(Infinity);
    drawDescent();
  }
  if (mode === "predict") {
    stop();
    frame = 0;
    ask();
  }
  show();
}

// --- the address: the expression, the numbers of its names, and the mode ---

function remember() {
  const numbers = nodes.flatMap((node, i) => node.leaf ? [`${node.name}:${result.values[i]}`] : []);
  const descent = mode === "descend";
  toAddress({
    e: at("expression").value,
    v: numbers.join(","),
    mode: mode === "step" ? "" : mode,
    learn: descent ? [...learned].join(",") : "",
    rate: descent ? at("rate").value : "",
    zero: descent && !zeroed() ? "off" : "",
    step: mode === "step" ? frame || "" : "",
  });
}

function recall() {
  const [first] = LANGUAGE.examples, said = fromAddress();
  const { e = first.parts.e, v = first.parts.v, step, learn = "", rate = "0.1", zero, mode: wanted = "step" } = said;
  adopt(v);
  at("rate").value = Number(rate) >= 0 ? Number(rate) : 0.1;
  at("zero").checked = zero !== "off";
  if (["step", "descend", "predict"].includes(wanted)) mode = wanted;
  at("expression").value = e;
  shape = "";
  typed(Number(step), learn.split(","));
  if (graph) return;
  adopt(first.parts.v);  // the link is broken, and the page shows how one looks
  unfold(read(first.parts.e).next, 0, []);
}

// The numbers of names, as a:2,b:-3.
function adopt(text) {
  for (const pair of text.split(",")) {
    const [name, number] = pair.split(":");
    if (name && number && Number.isFinite(Number(number))) values.set(name, Number(number));
  }
}

function moved() {
  nodes.forEach((node, i) => { if (node.leaf) values.set(node.name, result.values[i]); });
  if (!stepping) startHere();
  if (mode === "predict") {
    ask();
    show();
  }
  remember();
  say();
}

// What a screen reader hears of a change, once the hand rests.
function say() {
  clearTimeout(announced);
  announced = setTimeout(() => {
    const known = leavesNow().filter((i) => !predicted || predicted.has(i)).slice(0, 6);
    const gradients = known.map((i) => `${nodes[i].d} = ${decimal(result.gradients[i])}`);
    at("said").textContent = [at("result").textContent, ...gradients].join("; ");
  }, 900);
}

// A wider or a narrower window may want the picture the other way round.
function refit() {
  if (paper.matches) return;
  grow();
  place(graph);
  readPicture();
  show();
}

for (const { title, parts } of LANGUAGE.examples) make("option", at("examples"), title, { value: linkTo(parts) });
at("examples").addEventListener("change", () => {
  location.hash = at("examples").value;
  at("examples").value = "";
});
at("modes").addEventListener("change", (event) => {
  setMode(event.target.value);
  remember();
});
at("expression").addEventListener("input", () => typed());
at("expression").addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return;
  event.preventDefault();
  at("expression").blur();  // a phone's keyboard makes room for the picture
});
for (const id of ["learn", "rate", "zero"]) at(id).addEventListener("change", remember);
document.addEventListener("moved", moved);
addEventListener("hashchange", recall);
addEventListener("resize", refit);
recall();
