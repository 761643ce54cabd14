// One node at a time: the table that has them all, and all that happens to the one that is selected.

let rows = [];

function fillTable() {
  at("rows").replaceChildren();
  rows = nodes.map((node, i) => {
    const row = make("tr", at("rows"));
    make("button", make("td", row), node.name).addEventListener("click", () => select(i));
    make("td", row, node.made || (node.constant ? "constant" : "input"));
    make("td", row);
    make("td", row);
    return row;
  });
}

function select(i) {
  selected = selected === i ? null : i;
  document.body.classList.toggle("telling", selected !== null);
  show();
  if (selected === null || !narrow.matches) return;
  at("history").scrollIntoView({ block: "nearest", behavior: still.matches ? "auto" : "smooth" });
}

function tellHistory() {
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
