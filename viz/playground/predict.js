// Predict first: gradients stay hidden until they have been told. Right ones turn green.

const NEAR = 0.01;  // of the number
const PLAIN = { autocomplete: "off", autocapitalize: "none", spellcheck: "false" };

function ask() {
  predicted = new Map();
  at("questions").replaceChildren();
  const order = result.frames.filter((each) => each.phase === "backward").map((each) => each.node);
  for (const i of order) {
    const item = make("li", at("questions"), "", { "data-node": i }), name = nodes[i].d;
    make("span", item, name, { class: "asked" });
    const box = make("input", item, "", { "aria-label": name, class: "number", ...PLAIN });
    make("span", item, "", { class: "mark", role: "status" });
    const help = make("button", item, "?", { "aria-label": `Hint for ${name}`, title: "Hint", "aria-expanded": false });
    const hint = make("p", item, hintFor(i), { class: "hint", hidden: "" });
    box.addEventListener("input", () => mark(i, item, box.value, false));
    box.addEventListener("change", () => mark(i, item, box.value, true));
    box.addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      mark(i, item, box.value, true);
      nextQuestion(item);
    });
    help.addEventListener("click", () => {
      hint.hidden = !hint.hidden;
      help.setAttribute("aria-expanded", !hint.hidden);
    });
  }
  keepScore();
}

// The chain rule in names, without the numbers.
function hintFor(i) {
  if (i === graph.root) return "How much does the result change with itself?";
  const terms = result.frames.filter((each) => each.phase === "backward")
    .flatMap((each) => each.lines.filter((_, j) => each.touched[j] === i).map((line) => line.split(" = ")[0]));
  return `${terms.join("; ")}${terms.length > 1 ? ": the sum of them" : ""}`;
}

function mark(i, item, text, done) {
  if (predicted.has(i)) return;
  const right = isRight(guessOf(text), result.gradients[i]);
  item.classList.toggle("wrong", done && !right && text.trim() !== "");
  item.querySelector(".mark").textContent = right ? "right" : done && text.trim() ? "not yet" : "";
  if (right) uncover(i, item);
}

function uncover(i, item, shown = false) {
  predicted.set(i, !shown);
  item.className = shown ? "shown" : "right";
  const box = item.querySelector("input");
  box.readOnly = true;
  if (shown) {
    box.value = decimal(result.gradients[i]);
    item.querySelector(".mark").textContent = "shown";
  }
  keepScore();
  show();
}

// A number, or an expression in which every name is that of a node.
function guessOf(text) {
  const values = new Map(nodes.map((node, i) => [node.name, result.values[i]]));
  try {
    return new Builder(text, (name) => values.get(name) ?? NaN).result(new Parser(text).whole()).data;
  } catch (error) {
    if (!(error instanceof Mistake)) throw error;
    return NaN;
  }
}

function isRight(guess, gradient) {
  return Object.is(guess, gradient) || Math.abs(guess - gradient) <= NEAR * Math.abs(gradient) + 1e-12;
}

function nextQuestion(item) {
  const open = [...at("questions").querySelectorAll("li:not(.right):not(.shown)")];
  const next = open.find((each) => item.compareDocumentPosition(each) & Node.DOCUMENT_POSITION_FOLLOWING) ?? open[0];
  next?.querySelector("input").focus();
}

function keepScore() {
  const all = at("questions").children.length, right = at("questions").querySelectorAll(".right").length;
  at("score").textContent = right === all ? `All ${all} right` : `${right} of ${all} right`;
  at("reveal").disabled = predicted.size === all;
}

at("reveal").addEventListener("click", () => {
  for (const item of at("questions").children) {
    const i = Number(item.dataset.node);
    if (!predicted.has(i)) uncover(i, item, true);
  }
});
