// The sheet that is printed: the picture and every step, or the same with blanks to fill in.

const paper = matchMedia("print");
const BLANK = "________";

addEventListener("beforeprint", fillSheet);
addEventListener("afterprint", () => {
  at("sheet").replaceChildren();
  show();
});
at("print").addEventListener("click", () => print());

function fillSheet() {
  const blanks = at("blanks").checked || predicted !== null, { values, gradients } = result;
  at("sheet").replaceChildren();
  for (const [phase, title] of [["forward", "Forward"], ["backward", "Backward"]]) {
    make("h2", at("sheet"), title);
    const items = make("ol", at("sheet"));
    result.frames.forEach((each, k) => {
      if (each.phase !== phase) return;
      const item = make("li", items, "", { value: k });
      const texts = blanks ? withBlanks(each) : [each.sentence, ...each.lines];
      for (const text of texts.filter(Boolean)) maths(make("p", item), text);
    });
  }
  const strongest = blanks ? 0 : Math.max(0, ...gradients.map(Math.abs).filter(Number.isFinite));
  nodes.forEach((node, i) => {
    const asked = blanks && node.op;
    showNode(i, values[i], blanks ? null : gradients[i], null, strongest);
    if (asked) cards[i].value.textContent = "";
    if (blanks && cards[i].gradient) cards[i].gradient.textContent = "grad";
  });
  for (const group of [...edges.values()].flat()) group.classList.remove("lit", "backward");
  if (blanks) at("result").textContent = `${nodes[graph.root].name} = ${BLANK}`;
}

// A frame's texts as questions: the formulas stay, the numbers go.
function withBlanks({ phase, node, lines }) {
  const { name, made, d } = nodes[node];
  if (phase === "forward") return [`${name === made ? name : `${name} = ${made}`} = ${BLANK}`];
  const rows = lines.map((line) => `${line.split(" = ")[0]} = ${BLANK}`);
  return [node === graph.root ? `${d} = 1` : `${d} = ${BLANK}`, ...rows];
}
