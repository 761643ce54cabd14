// From a tree to nodes, as scalar.Value makes them: ops on constants alone are computed and leave a constant.

const MOST = 300;  // nodes, as viz.play has it

class Builder {
  constructor(text, valueOf) {
    this.text = text;
    this.valueOf = valueOf;  // the number for a name
    this.leaves = new Map();
    this.trouble = null;  // the first result that is not finite
  }

  // The result's node. Raises Mistake as viz.expression.parse does, but for results that are not finite.
  result(tree) {
    const made = new Map(), stack = [[tree, false]];
    while (stack.length) {
      const [node, ready] = stack.pop(), parts = node.parts ?? [];
      if (ready) made.set(node, this.checked(node, this.value(node, parts.map((part) => made.get(part)))));
      else {
        this.check(node);
        stack.push([node, true], ...parts.toReversed().map((part) => [part, false]));
      }
    }
    const root = made.get(tree);
    if (!root?.isNode) throw this.mistake(tree, `expected a number, got ${kindOf(root)}`);
    return root;
  }

  mistake(node, what) { return new Mistake(node.from, what, this.text); }

  // What can be told before the parts are known.
  check(node) {
    if (node.kind === "refused") {
      const got = [...this.text.slice(node.from, node.to)].slice(0, 30).join("");
      throw this.mistake(node, `expected numbers, names, + - * / ** and functions, got ${got}`);
    }
    if (node.kind !== "call") return;
    const { name, names } = node, { functions, aliases } = LANGUAGE;
    if (!Object.hasOwn(functions, name)) {
      const near = closest(name, Object.keys(functions));
      const hint = Object.hasOwn(aliases, name) ? `write ${aliases[name]}`
        : [...name].length === 1 ? `write ${name}*(...) for a product`
        : near ? `did you mean ${near}?` : `there are ${Object.keys(functions).sort().join(", ")}`;
      throw this.mistake(node, `unknown function ${name}; ${hint}`);
    }
    if (names.includes(null) || new Set(names).size < names.length) {
      throw this.mistake(node, `${name}: expected each setting once, as name=value`);
    }
  }

  value(node, xs) {
    switch (node.kind) {
      case "number": return this.number(node);
      case "truth": return node.truth;
      case "list": return xs;
      case "name": return this.named(node);
      case "unary":
        this.numbers(node, xs);
        return node.sign === "-" ? apply("negative", xs) : xs[0];
      case "binary":
        this.numbers(node, xs);
        if (node.op === "divide" && xs[1].data === 0) this.note(node.parts[1], "division by zero");
        return apply(node.op, xs);
      case "compare": {
        this.numbers(node, xs);
        const text = this.text.slice(node.from, node.to);
        return { text, sign: node.sign, x: xs[0], y: xs[1], truth: numbers[node.sign](xs[0].data, xs[1].data) };
      }
    }
    return this.called(node, xs);
  }

  number(node) {
    const whole = /^(\d+|0[xXoObB].*)$/.test(node.literal), value = Number(node.literal);
    if (whole && !Number.isFinite(value)) throw this.mistake(node, "expected a number that a float can hold");
    return leaf(value);
  }

  named(node) {
    const { name } = node;
    if (!this.leaves.has(name)) {
      const isFunction = Object.hasOwn(LANGUAGE.functions, name);
      if (isFunction) throw this.mistake(node, `${name} is a function: call it, ${name}(...)`);
      this.leaves.set(name, leaf(this.valueOf(name), name));
    }
    return this.leaves.get(name);
  }

  numbers(node, xs) {
    for (const x of xs) if (!x?.isNode) throw this.mistake(node, `expected numbers, got ${kindOf(x)}`);
  }

  called(node, xs) {
    const f = LANGUAGE.functions[node.name];
    try {
      const args = xs.slice(0, node.args);
      const given = Object.fromEntries(node.names.map((name, i) => [name, xs[node.args + i]]));
      return node.name === "where" ? where(args, given) : call(node.name, f, args, given);
    } catch (error) {
      throw error instanceof Mistake ? error : this.mistake(node, error.message);
    }
  }

  checked(node, result) {
    if (!result?.isNode || Number.isFinite(result.data)) return result;
    const text = this.text.slice(node.from, node.to);
    this.note(node, `${[...text].length < 30 ? text : "the result"} is ${repr(result.data)}, not a finite number`);
    return result;
  }

  note(node, what) { this.trouble ??= this.mistake(node, what); }
}

const isTest = (x) => typeof x === "boolean" || Boolean(x?.sign);  // True, False or a comparison
const kindOf = (x) => list(x) ? "a list" : isTest(x) ? "a condition" : "a number";
const typeOf = (x) => list(x) ? "list" : isTest(x) ? "bool" : "Value";

function leaf(data, label = "") {
  return { isNode: true, op: null, inputs: [], params: {}, texts: {}, data, label, constant: label === "" };
}

// The node of an op, or a constant if all inputs are.
function apply(name, inputs, params = {}, texts = {}, condition = null) {
  const op = OPS[name], xs = columns(op, inputs.map((x) => x.data));
  const data = op.forward(numbers, ...xs, ...op.settings.map((key) => params[key]));
  if (inputs.every((x) => x.constant)) return leaf(data);
  return { isNode: true, op: name, inputs, params, texts, condition, data, label: "", constant: false };
}

// A function as scalar calls it: its inputs first, then plain settings.
function call(name, f, args, given) {
  const n = f.letters.length;
  if (args.length < n || args.length > n + f.settings.length) {
    const what = f.over && n === 1 ? `sequence, as in ${name}([a, b])` : `input${n > 1 ? "s" : ""}`;
    throw new Error(`${name}: expected ${n} ${what}, got ${args.length}`);
  }
  const params = {}, texts = {}, known = f.settings.map((setting) => setting.name);
  for (const key of Object.keys(given)) {
    if (!known.includes(key)) throw new Error(`${name}: expected ${known.join(" and ")}, got ${key}`);
  }
  f.settings.forEach((setting, i) => {
    const x = given[setting.name] ?? args[n + i];
    if (x === undefined && setting.value === null) throw new Error(`${name}: expected ${setting.name}, got none`);
    if (x?.isNode && !x.constant) throw new Error(`${name}: expected a plain value for ${setting.name}, got a node`);
    const isNumber = x === undefined || x.isNode;
    if (!isNumber) throw new Error(`${name}, ${setting.name}: expected a real number, got ${typeOf(x)}`);
    params[setting.name] = x === undefined ? setting.value : x.data;
    texts[setting.name] = x === undefined ? setting.text : repr(x.data);
  });
  return apply(name, inputsOf(name, f, args.slice(0, n)), params, texts);
}

function inputsOf(name, f, args) {
  if (f.over) {
    for (const xs of args) if (!list(xs)) throw new Error(`${name}: expected a sequence, got ${typeOf(xs)}`);
    const lengths = [...new Set(args.map((xs) => xs.length))];
    if (lengths.length > 1) throw new Error(`${name}: expected sequences of one length, got ${lengths.join(" and ")}`);
  }
  const inputs = args.flat();
  for (const x of inputs) if (!x?.isNode) throw new Error(`${name}: expected a real number, got ${typeOf(x)}`);
  return inputs;
}

function where(args, given) {
  const names = ["condition", "x", "y"], found = names.map((name, i) => args[i] ?? given[name]);
  if (args.length > 3 || found.includes(undefined)) {
    throw new Error("where: expected a condition and two inputs, as in where(x > 0, x, 0)");
  }
  const [test, ...inputs] = found;
  if (!isTest(test)) throw new Error(`where: expected a bool condition such as x > 0, got ${typeOf(test)}`);
  const comparison = test.sign ? test : null;
  const params = { condition: comparison ? comparison.truth : test };
  const texts = { condition: comparison ? comparison.text : test ? "True" : "False" };
  return apply("where", inputsOf("where", { over: false }, inputs), params, texts, comparison);
}

// The known word that is nearest to one that is not: by the share of letters in common runs, as difflib has it.
function closest(word, words) {
  const common = (a, b) => {
    let best = [0, 0, 0];
    for (let i = 0; i < a.length; i++) for (let j = 0; j < b.length; j++) {
      let n = 0;
      while (i + n < a.length && a[i + n] === b[j + n]) n++;
      if (n > best[0]) best = [n, i, j];
    }
    const [n, i, j] = best;
    return n && n + common(a.slice(0, i), b.slice(0, j)) + common(a.slice(i + n), b.slice(j + n));
  };
  const scored = words.map((each) => [2 * common(each, word) / (each.length + word.length), each]);
  const [score, best] = scored.reduce((a, b) => b[0] > a[0] || (b[0] === a[0] && b[1] > a[1]) ? b : a);
  return score >= 0.6 ? best : null;
}
