// The page: shows one frame of run(GRAPH, given) at a time. Text only ever enters it as text.

const at = (id) => document.getElementById(id);
const nodes = GRAPH.nodes;
const still = matchMedia("(prefers-reduced-motion: reduce)");

let given = {};
let result = run(GRAPH, given);
let frame = 0, selected = null, timer = null;

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

// --- the picture: cards and edges by the names that they have in the drawing ---

const cards = [], edges = new Map();
for (const group of document.querySelectorAll("#picture .node, #picture .edge")) {
  const title = group.querySelector("title");
  const name = title.textContent;
  title.remove();
  if (group.classList.contains("edge")) {
    edges.set(name, [...(edges.get(name) ?? []), group]);
  } else {
    const i = Number(name.slice(1));
    const texts = [...group.querySelectorAll("text")];
    const gradient = nodes[i].constant ? null : texts.at(-1);
    const value = texts.at(nodes[i].constant ? -1 : -2);
    const box = group.getBBox();
    for (const text of [value, gradient]) {
      text?.setAttribute("text-anchor", "middle");
      text?.setAttribute("x", box.x + box.width / 2);
    }
    cards[i] = { group, value, gradient, box: group.querySelector("path") };
    group.classList.toggle("constant", nodes[i].constant);
    group.setAttribute("role", "button");
    group.addEventListener("click", () => select(i));
    group.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); event.stopPropagation(); select(i); }
    });
  }
}

// A wide picture shrinks to fit, as long as its print stays legible; the whole of it is shown on request.
const drawing = document.querySelector("#picture > svg");
drawing.style.setProperty("--legible", `${0.75 * drawing.width.baseVal.value}px`);

function whole(pressed) {
  at("picture").classList.toggle("whole", pressed);
  at("whole").setAttribute("aria-pressed", pressed);
}

function fit() {
  const { scrollWidth, clientWidth, scrollHeight, clientHeight } = at("picture");
  const seen = scrollWidth <= clientWidth && scrollHeight <= clientHeight;
  at("whole").hidden = seen && !at("picture").classList.contains("whole");
}

// The edges into node i, one for each input.
function edgesInto(i) {
  const times = {};
  return nodes[i].inputs.map((k) => edges.get(`n${k}->n${i}`)[times[k] = (times[k] ?? -1) + 1]);
}

function colour(card, gradient, strongest) {
  const size = Math.abs(gradient ?? 0);
  const share = !(size > 0) ? 0 : size < strongest ? Math.sqrt(size / strongest) : 1;
  const part = share ? (1 + Math.ceil(4 * share)) * 20 : 0;
  const sense = gradient > 0 ? "up" : "down";
  const mixed = (full, none) => part ? `color-mix(in srgb, var(--${sense}${full}) ${part}%, var(--${none}))` : "";
  card.box?.style.setProperty("--fill", mixed("", "still"));
  card.box?.style.setProperty("--stroke", mixed("-border", "border"));
  card.gradient?.style.setProperty("fill", part ? `var(--${sense}-ink)` : "var(--quiet)");
}

// --- one frame ---

// What is known by now: values that have been computed, gradients as far as they have come.
function known() {
  const values = nodes.map((node, i) => node.op ? null : result.values[i]);
  const gradients = nodes.map(() => null);
  for (const each of result.frames.slice(0, frame + 1)) {
    for (const [i, value] of Object.entries(each.values ?? {})) values[i] = value;
    if (each.phase === "backward" && each.node === GRAPH.root) gradients[each.node] = 1;
    for (const [i, total] of Object.entries(each.totals ?? {})) gradients[i] = total;
  }
  return { values, gradients };
}

function show() {
  const { phase, node: fires, sentence, lines, touched } = result.frames[frame];
  const { values, gradients } = known();
  const sizes = result.gradients.map(Math.abs).filter(Number.isFinite);
  const strongest = Math.max(0, ...sizes);

  at("frame").value = frame;
  const words = phase === "start" ? "start" : `${phase} pass`;
  at("frame").setAttribute("aria-valuetext", `${frame} of ${result.frames.length - 1}, ${words}`);
  at("phase").textContent = { start: "Start", forward: "Forward →", backward: "← Backward" }[phase];
  at("count").textContent = `step ${frame} of ${result.frames.length - 1}`;
  at("sentence").textContent = sentence ?? (phase === "start"
    ? "The inputs have their values. Forward, each node computes its own from them; backward, each hands its gradient on."
    : `${nodes[fires].name} is computed from its inputs.`);
  at("lines").replaceChildren();
  lines.forEach((line, j) => {
    const amount = phase === "backward" ? result.frames[frame].amounts[j] : 0;
    const item = make("li", at("lines"), "", amount ? { class: amount > 0 ? "up" : "down" } : {});
    maths(item, line);
  });

  const rows = at("rows").children;
  nodes.forEach((node, i) => {
    const card = cards[i], waiting = values[i] === null;
    card.value.textContent = waiting ? "·" : short(values[i]);
    if (card.gradient) card.gradient.textContent = gradients[i] === null ? "" : `grad ${short(gradients[i], true)}`;
    colour(card, gradients[i], strongest);
    card.group.classList.toggle("waiting", waiting);
    card.group.classList.toggle("fires", i === fires);
    card.group.classList.toggle("selected", i === selected);
    card.group.setAttribute("tabindex", i === (fires ?? GRAPH.root) ? 0 : -1);  // one stop; the table has them all
    const told = gradients[i] === null ? "" : `, gradient ${decimal(gradients[i])}`;
    card.group.setAttribute("aria-label", `${node.name}${waiting ? ", not computed yet" : ` = ${decimal(values[i])}`}${told}`);
    rows[i].className = `${i === fires ? "fires" : ""} ${i === selected ? "selected" : ""}`;
    rows[i].cells[2].textContent = waiting ? "·" : decimal(values[i]);
    rows[i].cells[3].textContent = node.constant ? "" : gradients[i] === null ? "·" : decimal(gradients[i]);
    rows[i].cells[3].className = gradients[i] > 0 ? "up" : gradients[i] < 0 ? "down" : "";
  });

  for (const group of [...edges.values()].flat()) group.classList.remove("lit", "backward");
  if (fires !== null && nodes[fires].op) {
    edgesInto(fires).forEach((group, j) => {
      const lit = phase === "forward" || !nodes[nodes[fires].inputs[j]].constant;
      group.classList.toggle("lit", lit);
      group.classList.toggle("backward", phase === "backward");
    });
  }
  at("first").disabled = at("back").disabled = frame === 0;
  at("last").disabled = at("next").disabled = frame === result.frames.length - 1;
  history(touched);
}

function go(to) {
  frame = Math.min(Math.max(to, 0), result.frames.length - 1);
  if (frame === result.frames.length - 1) stop();
  show();
  const { node } = result.frames[frame];
  if (node !== null) reveal([node, ...nodes[node].inputs].map((i) => cards[i].group));
}

// Scrolls the picture, never the page, so that the first card is in sight, and the others as far as there is room.
function reveal(groups) {
  const view = at("picture").getBoundingClientRect(), boxes = groups.map((group) => group.getBoundingClientRect());
  const by = { behavior: still.matches ? "auto" : "smooth" };
  for (const [start, end, key] of [["left", "right", "left"], ["top", "bottom", "top"]]) {
    let low = Math.min(...boxes.map((box) => box[start])), high = Math.max(...boxes.map((box) => box[end]));
    if (high - low > view[end] - view[start] - 16) [low, high] = [boxes[0][start], boxes[0][end]];
    by[key] = low < view[start] + 8 || high > view[end] - 8 ? (low + high - view[start] - view[end]) / 2 : 0;
  }
  if (by.left || by.top) at("picture").scrollBy(by);
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

// --- the history of one node ---

function select(i) {
  selected = selected === i ? null : i;
  show();
}

function history() {
  at("hint").hidden = selected !== null;
  at("whose").textContent = selected === null ? "History" : `History of ${nodes[selected].name}`;
  at("events").replaceChildren();
  if (selected === null) return;
  result.frames.forEach((each, k) => {
    let texts = [];
    if (each.node === selected) {
      texts = each.phase === "forward" ? each.lines : [`${nodes[selected].d} = ${decimal(each.gradient)}`];
    } else if (each.phase === "backward") {
      texts = each.lines.filter((_, j) => each.touched[j] === selected);
    }
    for (const text of texts) {
      const item = make("li", at("events"), "", k === frame ? { class: "present" } : {});
      const button = make("button", item);
      maths(button, text);
      const what = each.phase === "forward" ? "forward" : each.node === selected ? "backward, complete" : "backward";
      make("small", button, `step ${k}, ${what}`);
      button.addEventListener("click", () => go(k));
    }
  });
}

// --- the inputs ---

function change(i, value) {
  if (!Number.isFinite(value)) return;
  given = { ...given, [i]: value };
  result = run(GRAPH, given);
  show();
}

nodes.forEach((node, i) => {
  const row = make("tr", at("rows"));
  make("button", make("td", row), node.name).addEventListener("click", () => select(i));
  make("td", row, node.made || (node.constant ? "constant" : "input"));
  make("td", row);
  make("td", row);
  if (!node.leaf) return;
  const line = make("div", at("sliders"), "", { class: "leaf" });
  make("span", line, node.name, { title: node.name });
  const reach = Math.max(1, 2 * Math.abs(node.data));
  const bounds = { min: node.data - reach, max: node.data + reach, step: "any" };
  const slider = make("input", line, "", { type: "range", "aria-label": node.name, ...bounds });
  const number = make("input", line, "", { type: "number", class: "number", step: "any", "aria-label": `${node.name}, as a number` });
  const set = (value) => { slider.value = value; number.value = Number(value.toPrecision(6)); };
  set(node.data);
  // A slider has as many stops as pixels; its numbers are rounded to what can be read.
  slider.addEventListener("input", () => { number.value = Number(Number(slider.value).toPrecision(4)); change(i, Number(number.value)); });
  number.addEventListener("input", () => { if (number.value !== "") { slider.value = number.value; change(i, Number(number.value)); } });
  at("reset").addEventListener("click", () => set(node.data));
});
at("reset").addEventListener("click", () => { given = {}; result = run(GRAPH, given); show(); });
const longest = Math.max(...nodes.map((node) => node.leaf ? node.name.length : 0));
at("sliders").style.setProperty("--label", `${Math.min(Math.max(longest + 1, 4), 18)}ch`);
at("leaves").hidden = !nodes.some((node) => node.leaf);
at("note").hidden = !nodes.some((node) => node.op === "where");

// --- the controls ---

at("frame").max = result.frames.length - 1;
at("frame").addEventListener("input", () => { stop(); go(Number(at("frame").value)); });
at("first").addEventListener("click", () => { stop(); go(0); });
at("back").addEventListener("click", () => { stop(); go(frame - 1); });
at("next").addEventListener("click", () => { stop(); go(frame + 1); });
at("last").addEventListener("click", () => { stop(); go(Infinity); });
at("play").addEventListener("click", play);
at("whole").addEventListener("click", () => whole(!at("picture").classList.contains("whole")));
addEventListener("resize", fit);
at("speed").addEventListener("change", () => { if (timer !== null) { stop(); play(); } });

const KEYS = { ArrowLeft: "back", ArrowRight: "next", Home: "first", End: "last", " ": "play" };
document.addEventListener("keydown", (event) => {
  const busy = event.target.closest?.("input, select, pre") || (event.key === " " && event.target.closest?.("button"));
  if (busy || event.ctrlKey || event.metaKey || event.altKey || !(event.key in KEYS)) return;
  event.preventDefault();
  at(KEYS[event.key]).click();
});

show();
fit();
