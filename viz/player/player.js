// The player: shows one frame of run(graph, given) at a time. Text only ever enters the page as text.

const at = (id) => document.getElementById(id);
const still = matchMedia("(prefers-reduced-motion: reduce)"), narrow = matchMedia("(max-width: 62rem)");

let graph, nodes = [], given = {}, result;
let frame = 0, selected = null, timer = null;
let predicted = null;  // in the playground: the nodes whose gradients may be seen, and whether they were predicted

function make(tag, parent, text = "", attributes = {}) {
  const element = document.createElement(tag);
  element.textContent = text;
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  parent.append(element);
  return element;
}

// Maths that wraps before its equal signs.
function maths(parent, text) {
  text.split(/ (?== )/).forEach((part, i) => {
    if (i) parent.append(" ");
    make("span", parent, part);
  });
}

// Shows a graph whose picture stands in the page, with the leaves that `changed` says, at a step.
function present(next, changed = {}, step = 0) {
  stop();
  graph = next;
  nodes = graph.nodes;
  given = changed;
  selected = null;
  document.body.classList.remove("telling");
  result = run(graph, given);
  readPicture();
  fillTable();
  fillInputs();
  at("frame").max = result.frames.length - 1;
  go(step);
}

// What is known by now: values that have been computed, gradients as far as they have come.
function known() {
  if (predicted) {
    return { values: result.values, gradients: result.gradients.map((g, i) => predicted.has(i) ? g : null) };
  }
  const values = nodes.map((node, i) => node.op ? null : result.values[i]);
  const gradients = nodes.map(() => null);
  for (const each of result.frames.slice(0, frame + 1)) {
    for (const [i, value] of Object.entries(each.values ?? {})) values[i] = value;
    if (each.phase === "backward" && each.node === graph.root) gradients[each.node] = 1;
    for (const [i, total] of Object.entries(each.totals ?? {})) gradients[i] = total;
  }
  return { values, gradients };
}

function show() {
  const { phase, node: fires } = result.frames[frame];
  const { values, gradients } = known();
  tell(result.frames[frame]);
  const strongest = Math.max(0, ...result.gradients.map(Math.abs).filter(Number.isFinite));
  nodes.forEach((node, i) => showNode(i, values[i], gradients[i], fires, strongest));
  for (const group of [...edges.values()].flat()) group.classList.remove("lit", "backward");
  if (fires !== null && nodes[fires].op) {
    edgesInto(fires).forEach((group, j) => {
      const lit = phase === "forward" || !nodes[nodes[fires].inputs[j]].constant;
      group.classList.toggle("lit", lit);
      group.classList.toggle("backward", phase === "backward");
    });
  }
  at("result").textContent = `${nodes[graph.root].name} = ${decimal(result.values[graph.root])}`;
  at("first").disabled = at("back").disabled = frame === 0;
  at("last").disabled = at("next").disabled = frame === result.frames.length - 1;
  tellHistory();
}

const BEGINNING = "The inputs have their values. Forward, each node computes its own from them; "
  + "backward, each hands its gradient on.";

// The words of a frame.
function tell({ phase, node, sentence, lines, amounts }) {
  const last = result.frames.length - 1;
  at("frame").value = frame;
  at("frame").setAttribute("aria-valuetext", `${frame} of ${last}, ${phase === "start" ? "start" : `${phase} pass`}`);
  at("phase").textContent = { start: "Start", forward: "Forward →", backward: "← Backward" }[phase];
  at("count").textContent = `step ${frame} of ${last}`;
  at("count").href = linkTo({ ...fromAddress(), step: frame });
  const computed = node === null ? BEGINNING : `${nodes[node].name} is computed from its inputs.`;
  at("sentence").textContent = sentence ?? computed;
  at("lines").replaceChildren();
  lines.forEach((line, j) => {
    const amount = phase === "backward" ? amounts[j] : 0;
    maths(make("li", at("lines"), "", amount ? { class: amount > 0 ? "up" : "down" } : {}), line);
  });
}

// A node's card and its row in the table.
function showNode(i, value, gradient, fires, strongest) {
  const node = nodes[i], card = cards[i], row = rows[i], waiting = value === null;
  card.value.textContent = waiting ? "·" : marked(value, short(value));
  const unknown = predicted && graph.steps.includes(i) ? "grad ?" : "";
  if (card.gradient) {
    card.gradient.textContent = gradient === null ? unknown : marked(gradient, `grad ${short(gradient, true)}`);
  }
  colour(card, value, gradient, strongest);
  card.group.classList.toggle("waiting", waiting);
  card.group.classList.toggle("right", Boolean(predicted?.get(i)));
  card.group.classList.toggle("fires", i === fires);
  card.group.classList.toggle("selected", i === selected);
  card.group.setAttribute("tabindex", i === (fires ?? graph.root) ? 0 : -1);  // one stop; the table has them all
  const is = waiting ? ", not computed yet" : ` = ${decimal(value)}`;
  const told = gradient === null ? "" : `, gradient ${decimal(gradient)}`;
  card.group.setAttribute("aria-label", `${node.name}${is}${told}`);
  row.className = `${i === fires ? "fires" : ""} ${i === selected ? "selected" : ""}`;
  row.cells[2].textContent = waiting ? "·" : decimal(value);
  row.cells[3].textContent = node.constant ? "" : gradient === null ? "·" : decimal(gradient);
  row.cells[3].className = gradient > 0 ? "up" : gradient < 0 ? "down" : "";
}

function go(to) {
  frame = Math.min(Math.max(Math.trunc(to) || (to === Infinity ? Infinity : 0), 0), result.frames.length - 1);
  if (frame === result.frames.length - 1) stop();
  show();
  const { node } = result.frames[frame];
  if (node !== null) reveal([node, ...nodes[node].inputs].map((i) => cards[i].group));
  toAddress({ step: frame || null });
}

function stop() {
  clearInterval(timer);
  timer = null;
  at("now").setAttribute("aria-live", "polite");
  at("play").classList.remove("playing");
  at("play").setAttribute("aria-label", "Play");
}

function play() {
  if (timer !== null) return stop();
  if (frame === result.frames.length - 1) go(0);
  timer = setInterval(() => go(frame + 1), Number(at("speed").value));
  at("now").setAttribute("aria-live", "off");  // read out as fast as it plays, it would be noise
  at("play").classList.add("playing");
  at("play").setAttribute("aria-label", "Pause");
}

at("frame").addEventListener("input", () => { stop(); go(Number(at("frame").value)); });
at("first").addEventListener("click", () => { stop(); go(0); });
at("back").addEventListener("click", () => { stop(); go(frame - 1); });
at("next").addEventListener("click", () => { stop(); go(frame + 1); });
at("last").addEventListener("click", () => { stop(); go(Infinity); });
at("play").addEventListener("click", play);
at("speed").addEventListener("change", () => { if (timer !== null) { stop(); play(); } });

const KEYS = { ArrowLeft: "back", ArrowRight: "next", Home: "first", End: "last", " ": "play" };
document.addEventListener("keydown", (event) => {
  const within = (kinds) => event.target.closest?.(kinds);
  const busy = within("input, select, textarea, pre") || (event.key === " " && within("button, a, summary"));
  if (busy || event.ctrlKey || event.metaKey || event.altKey || !(event.key in KEYS)) return;
  event.preventDefault();
  at(KEYS[event.key]).click();
});
