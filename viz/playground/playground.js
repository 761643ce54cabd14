// The playground: what is typed becomes a graph, its picture, and the player's to show.

const values = new Map();  // for each name its number, also of names that are gone for the moment
let shape = "", announced = null;

// The number of a name that has none yet.
function valueOf(name) {
  if (!values.has(name)) values.set(name, Object.hasOwn(LANGUAGE.usual, name) ? LANGUAGE.usual[name] : LANGUAGE.fresh[values.size % LANGUAGE.fresh.length]);
  return values.get(name);
}

function read(text) {
  const tree = new Parser(text).whole(), builder = new Builder(text.replace(/[\n\r\t]/g, " "), valueOf);
  const root = builder.result(tree);
  if (root.constant) throw new Mistake(tree.from, "expected a name with a value, such as x", text);
  const next = graphOf(root, [...builder.leaves.values()]);
  if (next.nodes.length > MOST) throw new Mistake(tree.from, `expected at most ${MOST} nodes, got ${next.nodes.length}`, text);
  return { next, trouble: builder.trouble };
}

// Reads what is typed; where it is wrong, the graph before it stays and the mistake is shown.
function typed(step = frame) {
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
  const looks = JSON.stringify(found.next.nodes.map(({ data, ...node }, i) => node.op || node.leaf ? node : { ...node, data }));
  if (looks !== shape) {
    shape = looks;
    place(found.next);
    present(found.next, {}, step);
  } else {
    moveTo(Object.fromEntries(found.next.nodes.flatMap((node, i) => node.leaf ? [[i, node.data]] : [])));
  }
  document.title = `${text.slice(0, 80)} · Playground`;
  remember();
}

// Puts the picture into the page.
function place(next) {
  const { clientWidth } = at("picture"), { innerHeight } = window;
  at("picture").replaceChildren(drawing(next, { width: clientWidth - 16, height: narrow.matches ? innerHeight * 0.45 : 540 }));
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
  at("expression").style.height = `${at("expression").scrollHeight + 2}px`;
}

// --- the address: the expression and the numbers of its names ---

function remember() {
  const numbers = nodes.flatMap((node, i) => node.leaf ? [`${node.name}:${result.values[i]}`] : []);
  toAddress({ e: at("expression").value, v: numbers.join(",") });
}

function recall() {
  const [first] = LANGUAGE.examples, { e = first.e, v = first.v, step } = fromAddress();
  for (const pair of (v ?? "").split(",")) {
    const [name, number] = pair.split(":");
    if (name && Number.isFinite(Number(number))) values.set(name, Number(number));
  }
  at("expression").value = e;
  typed(Number(step));
  if (!graph) place(read(first.e).next);  // the link is broken, and the page shows how one looks
}

function moved() {
  nodes.forEach((node, i) => { if (node.leaf) values.set(node.name, result.values[i]); });
  remember();
  say();
}

// What a screen reader hears of a change, once the hand rests.
function say() {
  clearTimeout(announced);
  announced = setTimeout(() => {
    const gradients = nodes.flatMap((node, i) => node.leaf ? [`${node.d} = ${decimal(result.gradients[i])}`] : []);
    at("said").textContent = [at("result").textContent, ...gradients.slice(0, 6)].join("; ");
  }, 900);
}

for (const { title, e, v } of LANGUAGE.examples) make("option", at("examples"), title, { value: linkTo({ e, v }) });
at("examples").addEventListener("change", () => {
  location.hash = at("examples").value;
  at("examples").value = "";
});
at("expression").addEventListener("input", () => typed());
at("expression").addEventListener("keydown", (event) => { if (event.key === "Enter") event.preventDefault(); });
document.addEventListener("moved", moved);
addEventListener("hashchange", recall);
recall();
