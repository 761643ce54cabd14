// Gradient descent: the chosen inputs go against their gradients. Without zero_grad the gradients pile up.

const MOST_STEPS = 500;
let learned = new Set(), held = {}, trail = [], shadow = null, running = null, stepping = false;

const isData = (name) => /^[xyt]\d*$/.test(name);  // what is usually not learned
const leavesNow = () => nodes.flatMap((node, i) => node.leaf ? [i] : []);
const parameters = () => leavesNow().filter((i) => learned.has(nodes[i].name));
const zeroed = () => at("zero").checked;

// For a new graph: the choice of parameters, those of `names` or, if it says none, all that are not data.
function offerParameters(names) {
  const known = leavesNow().map((i) => nodes[i].name), usual = known.filter((name) => !isData(name));
  const kept = names.filter((name) => known.includes(name));
  learned = new Set(kept.length ? kept : usual.length ? usual : known);
  at("learn").replaceChildren(at("learn").firstElementChild);
  for (const name of known) {
    const label = make("label", at("learn")), box = make("input", label, "", { type: "checkbox" });
    box.checked = learned.has(name);
    label.append(` ${name}`);
    box.addEventListener("change", () => {
      learned[box.checked ? "add" : "delete"](name);
      offerSlices();
      startHere();
    });
  }
  offerSlices();
  startHere();
}

function offerSlices() {
  const before = at("along").value;
  at("along").replaceChildren();
  for (const i of parameters()) make("option", at("along"), nodes[i].name, { value: i });
  if (parameters().some((i) => String(i) === before)) at("along").value = before;
}

// The descent begins where the inputs are now.
function startHere() {
  halt();
  held = {};
  shadow = { given: { ...given }, result };
  trail = [pointNow()];
  drawDescent();
}

const lossOf = (run) => run.values[graph.root];

function pointNow() {
  const numbers = Object.fromEntries(parameters().map((i) => [i, result.values[i]]));
  return { at: numbers, loss: lossOf(result), shadow: lossOf(shadow.result) };
}

function descendOnce() {
  const rate = Number(at("rate").value), moves = {}, told = [];
  if (!parameters().length || !(trail.length <= MOST_STEPS)) return halt();
  for (const i of parameters()) {
    const x = result.values[i], g = result.gradients[i], before = zeroed() ? 0 : held[i] ?? 0;
    held[i] = before + g;
    moves[i] = x - rate * held[i];
    told.push({ name: nodes[i].name, x, g, before, total: held[i], next: moves[i] });
  }
  if (!Object.values(moves).every(Number.isFinite)) {
    at("progress").textContent = "The numbers have left all bounds; try a smaller learning rate.";
    return halt();
  }
  const ghost = { ...shadow.given };
  for (const i of parameters()) ghost[i] = shadow.result.values[i] - rate * shadow.result.gradients[i];
  shadow = { given: ghost, result: run(graph, ghost) };
  stepping = true;
  moveTo(moves);
  stepping = false;
  trail.push(pointNow());
  drawDescent(told, rate);
}

function drawDescent(told = [], rate = Number(at("rate").value)) {
  const losses = trail.map((point) => point.loss), piling = !zeroed(), last = trail.length - 1;
  const finite = losses.filter(Number.isFinite), [low, high] = [Math.min(...finite), Math.max(...finite)];
  const log = !piling && low > 0 && high > 300 * low;
  at("progress").textContent = `step ${last}, ${nodes[graph.root].name} = ${decimal(losses[last])}`;
  at("update").textContent = updateText(told, rate);
  at("piled").hidden = !piling;
  const line = { points: losses.map((y, k) => [k, y]), name: "loss" };
  const thin = { points: trail.map((point, k) => [k, point.shadow]), name: "ghost" };
  const label = `Loss by step: ${decimal(losses[0])} at the start, ${decimal(losses[last])} after ${last} steps`;
  chart(at("curve"), piling ? [thin, line] : [line], [{ x: last, y: losses[last], name: "here" }], { log, label });
  drawSlice();
}

// The last update as a program, with its numbers.
function updateText(told, rate) {
  const names = parameters().map((i) => nodes[i].name), first = names.slice(0, 3);
  const some = names.length > 3 ? [...first, "..."] : names, root = nodes[graph.root].name;
  const clear = `${zeroed() ? "" : "# "}for p in (${some.join(", ")}${names.length === 1 ? "," : ""}): p.grad = 0.0`;
  const piles = zeroed() ? [] : told.slice(0, 3).map(({ name, g, before, total }) => {
    return `  # ${name}.grad: ${decimal(before)} + ${decimal(g)} = ${decimal(total)}`;
  });
  const moves = told.map(({ x, total, next }) => {
    return `\n  # ${decimal(x)} - ${rate} * ${decimal(total)} = ${decimal(next)}`;
  });
  const rows = first.map((name, k) => `${name}.data -= ${rate} * ${name}.grad${moves[k] ?? ""}`);
  return [clear, `${root}.backward()`, ...piles, ...rows].join("\n");
}

// The loss as a function of one parameter, the others as they are; with the point, its tangent and where it has been.
function drawSlice() {
  const i = Number(at("along").value || -1);
  if (!parameters().includes(i)) return at("slice").replaceChildren();
  const here = result.values[i], been = trail.map((point) => point.at[i]).filter(Number.isFinite);
  const [first] = been, around = Math.max(1.25 * Math.abs(first), 0.5), rim = 0.1 * around;
  const left = Math.min(first - around, ...been.map((x) => x - rim));
  const right = Math.max(first + around, ...been.map((x) => x + rim));
  const xs = Array.from({ length: 121 }, (_, k) => left + k * (right - left) / 120);
  const losses = xs.map((x) => lossAt({ ...given, [i]: x })), slope = result.gradients[i], loss = lossOf(result);
  const least = Math.min(...losses.filter(Number.isFinite)), most = Math.max(...trail.map((point) => point.loss));
  const top = most > least ? least + 3 * (most - least) : Infinity;  // what is steeper runs out of the picture
  const points = xs.map((x, k) => [x, losses[k] <= top ? losses[k] : NaN]);
  const dx = (right - left) * 0.15, tangent = [[here - dx, loss - slope * dx], [here + dx, loss + slope * dx]];
  const ys = points.map(([, y]) => y).filter(Number.isFinite), [low, high] = [Math.min(...ys), Math.max(...ys)];
  const inside = tangent.map(([x, y]) => {
    const share = y < low || y > high ? Math.abs(((y < low ? low : high) - loss) / (y - loss)) : 1;
    return [here + (x - here) * share, loss + (y - loss) * share];
  });
  const old = parameters().length === 1 ? trail.slice(0, -1) : [];  // otherwise not on this slice
  const dots = old.map((point) => ({ x: point.at[i], y: point.loss, name: "been" }));
  const lines = [{ points, name: "loss" }, { points: inside, name: "tangent" }];
  const label = `Loss along ${nodes[i].name}: ${decimal(loss)} at ${decimal(here)}, with slope ${decimal(slope)}`;
  chart(at("slice"), lines, [...dots, { x: here, y: loss, name: "here" }], { label });
}

function lossAt(changes) {
  const numbers = nodes.map((node, i) => i in changes ? changes[i] : node.data);
  nodes.forEach((node, i) => { if (node.op) numbers[i] = valueAt(node, numbers); });
  return numbers[graph.root];
}

function halt() {
  clearInterval(running);
  running = null;
  at("progress").setAttribute("aria-live", "polite");
  at("run").textContent = "Run";
  at("run").setAttribute("aria-pressed", false);
}

function toggleRun() {
  if (running) return halt();
  running = setInterval(descendOnce, 120);
  at("progress").setAttribute("aria-live", "off");  // read out at each step, it would be noise
  at("run").textContent = "Pause";
  at("run").setAttribute("aria-pressed", true);
}

function startAgain() {
  const [first] = trail;
  stepping = true;
  moveTo(first.at);
  stepping = false;
  startHere();
}

at("once").addEventListener("click", () => { halt(); descendOnce(); });
at("run").addEventListener("click", toggleRun);
at("again").addEventListener("click", startAgain);
at("zero").addEventListener("change", startAgain);
at("rate").addEventListener("input", () => drawDescent());
at("along").addEventListener("change", drawSlice);
