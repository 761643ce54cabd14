// From nodes to what the player shows: the same data that viz/player/page.py writes, named as in viz/maths/steps.py.

const NAME_WIDTH = 20, CARD_WIDTH = 24;  // characters
const sizeOf = (text) => [...text].length;
const cut = (label) => `${[...label].slice(0, NAME_WIDTH - 1).join("")}…`;
const shortened = (text) => sizeOf(text) <= CARD_WIDTH ? text : "…";
const isPlain = (text) => /^[\p{L}\p{N}_.[\],']*$/u.test(text);
const gradientName = (over, under) => `d${[over, under].map((text) => isPlain(text) ? text : `(${text})`).join("/d")}`;

// Each node after its inputs, first inputs first.
function inOrder(root) {
  const order = [], seen = new Set(), stack = [[root, false]];
  while (stack.length) {
    const [node, ready] = stack.pop();
    if (ready) order.push(node);
    else if (!seen.has(node)) {
      seen.add(node);
      stack.push([node, true], ...node.inputs.toReversed().map((x) => [x, false]));
    }
  }
  return order;
}

// The order of the backward pass, as scalar.backward_steps takes it.
function backwardOrder(root) {
  const order = [], seen = new Set(), stack = [root];
  while (stack.length) {
    const node = stack.pop();
    if (node === null) order.push(stack.pop());
    else if (!seen.has(node)) {
      seen.add(node);
      stack.push(node, null, ...node.inputs);
    }
  }
  return order.reverse().filter((node) => !node.constant);
}

function givenOf(node) {
  const said = ([key, text]) => key === "condition" ? shortened(text) : `${key}=${shortened(text)}`;
  return Object.entries(node.texts).map(said);
}

// A name for each node: its label, its expression if that is short, or a number, from the node `first` on; L for the
// result.
function namesOf(nodes, root, first) {
  const labels = nodes.map((node) => node.label), names = new Map();
  const taken = new Set(labels.filter((label) => /\d$/.test(label)).map((label) => label.replace(/\d+$/, "")));
  const letter = [..."vuntpqr"].find((each) => !taken.has(each)) ?? "node";
  nodes.forEach((node, i) => {
    const label = node.label || (node === root && !labels.includes("L") ? "L" : "");
    const made = node.op ? code(node.op, node.inputs.map((x) => names.get(x)), givenOf(node)) : null;
    const isShort = made && sizeOf(made.text) <= NAME_WIDTH && !made.text.includes("…");
    if (label) names.set(node, term(sizeOf(label) <= NAME_WIDTH ? label : cut(label)));
    else if (!node.op) names.set(node, constant(node.data));
    else names.set(node, isShort ? made : term(`${letter}${i - first}`));
    node.made = made?.text ?? "";
  });
  return names;
}

function tailOf(node, names) {
  const texts = [...new Set(node.inputs.filter((x) => !x.constant).map((x) => names.get(x).text))];
  if (texts.length > 4) return ` It hands a share to ${texts.length} inputs.`;
  const most = texts.slice(0, -1).join(", ");
  return texts.length ? ` It hands a share to ${most ? `${most} and ` : ""}${texts.at(-1)}.` : "";
}

function graphOf(root, leaves) {
  const order = inOrder(root), aside = leaves.filter((each) => !order.includes(each));  // which only conditions read
  const nodes = [...aside, ...order], names = namesOf(nodes, root, aside.length), captions = captionsOf(nodes, names);
  const index = new Map(nodes.map((node, i) => [node, i])), top = names.get(root).text;
  return {
    root: index.get(root),
    steps: backwardOrder(root).map((node) => index.get(node)),
    nodes: nodes.map((node) => ({
      name: names.get(node).text,
      tightness: names.get(node).tightness,
      made: node.made,
      d: gradientName(top, names.get(node).text),
      tail: tailOf(node, names),
      op: node.op,
      inputs: node.inputs.map((x) => index.get(x)),
      params: node.params,
      given: givenOf(node),
      condition: node.condition ? conditionOf(node.condition, index) : null,
      aside: leavesOf(node.condition).filter((each) => aside.includes(each)).map((each) => index.get(each)),
      data: node.data,
      constant: node.constant,
      fixed: node.constant,
      leaf: node.op === null && !node.constant,
      caption: captions.get(node),
    })),
  };
}

function leavesOf(condition) {
  const nodes = condition ? [...inOrder(condition.x), ...inOrder(condition.y)] : [];
  return [...new Set(nodes)].filter((node) => node.label);
}

function conditionOf({ sign, x, y }, index) {
  const operand = (node) => {
    if (index.has(node)) return index.get(node);
    if (!node.op) return { value: node.data };
    const settings = OPS[node.op].settings.map((key) => node.params[key]);
    return { op: node.op, inputs: node.inputs.map(operand), settings };
  };
  return { sign, x: operand(x), y: operand(y) };
}

// --- what stands on the cards, as viz/picture/cards.py has it ---

const { infix: CARD_SIGNS, superscripts: SUPERSCRIPTS } = LANGUAGE;

function write(name, xs, given) {
  const [x, y] = xs, args = [...xs.map((each) => each.text)];
  if (!given.length && xs.length === 2 && Object.hasOwn(CARD_SIGNS, name)) {
    const [sign, tightness] = CARD_SIGNS[name];
    return term(`${within(x, tightness)} ${sign} ${within(y, tightness + (name !== "add"))}`, tightness);
  }
  if (name === "where") return term(`where(${[...given, ...args].join(", ")})`);
  if (!given.length) {
    if (name === "negative") return term(`−${within(x, PRODUCT)}`, SUM);
    if (name === "abs") return term(`|${x.text}|`);
    if (name === "sqrt" || name === "cbrt") return term(`${name === "sqrt" ? "√" : "∛"}${within(x, ATOM)}`, POWER);
    if (name === "floor" || name === "ceil") return term(name === "floor" ? `⌊${x.text}⌋` : `⌈${x.text}⌉`);
    if (name === "square") return term(`${within(x, ATOM)}²`, POWER);
    if (name === "power") {
      const raised = [...y.text].map((each) => SUPERSCRIPTS[each]);
      return term(within(x, ATOM) + (raised.every(Boolean) ? raised.join("") : `^${within(y, ATOM)}`), POWER);
    }
  }
  const shown = [...args, ...given].filter((text, i, all) => !(text === "…" && all[i - 1] === "…"));
  return term(`${name}(${shown.join(", ")})`);
}

// For each node its label, and its expression in the names of its inputs: the longest are left out until it fits.
function captionsOf(nodes, names) {
  const captions = new Map(), terms = new Map(), rest = term("…");
  for (const node of nodes) {
    const { text } = names.get(node), label = text === node.made || (!node.op && node.constant) ? "" : text;
    let made = null;
    if (node.op) {
      let args = node.inputs.map((x) => terms.get(x));
      if (args.length >= 5) args = [args[0], rest, args.at(-1)];
      for (;;) {
        made = write(node.op, args, cardSettings(node));
        const longest = args.reduce((best, each, i) => sizeOf(each.text) > sizeOf(args[best].text) ? i : best, 0);
        if (sizeOf(made.text) <= CARD_WIDTH || !args.length || sizeOf(args[longest].text) <= 1) break;
        args[longest] = rest;
      }
    }
    captions.set(node, { label, made: made?.text ?? "" });
    terms.set(node, !node.op && node.constant ? term(short(node.data), sign(node.data) ? SUM : ATOM)
      : label ? term(label) : made.text.includes("…") ? rest : made);
  }
  return captions;
}

function cardSettings(node) {
  return Object.entries(node.texts).map(([key, text]) => {
    const told = key === "condition" ? text : `${key}=${short(node.params[key])}`;
    return sizeOf(told) <= 12 ? told : "…";
  });
}
