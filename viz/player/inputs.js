// The inputs: a slider and a number for each leaf. Whatever moves them, "moved" is told to the page.

let setters = new Map();  // for each leaf what shows its number

function fillInputs() {
  at("sliders").replaceChildren();
  setters = new Map();
  nodes.forEach((node, i) => { if (node.leaf) addInput(node, i); });
  const longest = Math.max(...nodes.map((node) => node.leaf ? node.name.length : 0));
  at("sliders").style.setProperty("--label", `${Math.min(Math.max(longest + 1, 4), 18)}ch`);
  at("leaves").hidden = !setters.size;
  at("note").hidden = !nodes.some((node) => node.op === "where" && !node.condition);
}

function addInput(node, i) {
  const line = make("div", at("sliders"), "", { class: "leaf" });
  make("span", line, node.name, { title: node.name });
  const slider = make("input", line, "", { type: "range", "aria-label": node.name });
  const kind = { type: "number", class: "number", step: "any", "aria-label": `${node.name}, as a number` };
  const number = make("input", line, "", kind);
  const bound = (value) => Object.assign(slider, boundsFor(value));
  const put = (value) => {
    if (value < Number(slider.min) || value > Number(slider.max)) bound(value);
    slider.value = value;
  };
  const write = (value) => { number.value = Number(value.toPrecision(6)); };
  const set = (value) => { bound(value); put(value); write(value); };
  set(result.values[i]);
  setters.set(i, { set, follow: (value) => { put(value); write(value); } });
  slider.addEventListener("input", () => {
    write(Number(slider.value));
    change({ [i]: Number(number.value) });
  });
  number.addEventListener("input", () => {
    if (number.value === "") return;
    put(Number(number.value));
    change({ [i]: Number(number.value) });
  });
}

// As far on both sides as twice the number, by a step that suits it: 0.001 moves by 0.00001.
function boundsFor(value) {
  const reach = value && Number.isFinite(value) ? 2 * Math.abs(value) : 1;
  const step = 10 ** Math.floor(Math.log10(reach / 60)), middle = Number.isFinite(value) ? value : 0;
  return { min: middle - reach, max: middle + reach, step };
}

function change(moved) {
  if (!Object.values(moved).every(Number.isFinite)) return;
  given = { ...given, ...moved };
  result = run(graph, given);
  show();
  document.dispatchEvent(new Event("moved"));
}

// Inputs that something else moves: their sliders follow.
function moveTo(moved) {
  for (const [i, value] of Object.entries(moved)) if (Number.isFinite(value)) setters.get(Number(i))?.follow(value);
  change(moved);
}

at("reset").addEventListener("click", () => {
  for (const [i, each] of setters) each.set(nodes[i].data);
  given = {};
  result = run(graph, given);
  show();
  document.dispatchEvent(new Event("moved"));
});
