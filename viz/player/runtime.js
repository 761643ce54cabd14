"use strict";

// The functions that the translated op page calls: `numbers` computes values, `symbols` values and expressions.

const list = Array.isArray;

// Python's sum: since 3.12 with Neumaier's correction, unless the result is not finite.
function sum(xs, start = 0) {
  let total = start, lost = 0;
  for (const x of xs) {
    const next = total + x;
    lost += Math.abs(total) >= Math.abs(x) ? total - next + x : x - next + total;
    total = next;
  }
  return COMPENSATED && Number.isFinite(total + lost) ? total + lost : xs.reduce((a, b) => a + b, start);
}

// x^y of IEEE 754, where JavaScript has NaN: 1^y = 1, and (-1)^(+-inf) = 1.
function power(x, y) {
  return x === 1 || (x === -1 && Math.abs(y) === Infinity) ? 1 : x ** y;
}

function logaddexp(x, y) {
  if (x === y) return x + Math.LN2;
  const d = x - y;
  return d > 0 ? x + Math.log1p(Math.exp(-d)) : d <= 0 ? y + Math.log1p(Math.exp(d)) : NaN;
}

// The nearest whole number, of two the even one.
function rint(x) {
  const up = Math.round(x);
  return up - x === 0.5 && up % 2 !== 0 ? up - 1 : up;
}

// The remainder with the sign of y, as Python and numpy have it.
function mod(x, y) {
  const rest = x % y;
  return rest && (rest < 0) !== (y < 0) ? rest + y : rest;
}

const numbers = {
  add: (x, y) => list(x) ? [...x, ...y] : x + y,
  subtract: (x, y) => x - y,
  multiply: (x, y) => list(x) ? Array(y).fill(x).flat() : x * y,
  divide: (x, y) => x / y,
  negative: (x) => -x,
  lt: (x, y) => x < y,
  le: (x, y) => x <= y,
  gt: (x, y) => x > y,
  ge: (x, y) => x >= y,
  eq: (x, y) => x === y,
  ne: (x, y) => x !== y,
  truth: (x) => list(x) ? x.length > 0 : Boolean(x),
  call: (name, ...xs) => OPS[name].forward(numbers, ...xs),
  "len": (xs) => xs.length,
  "float": (x) => x,
  "int": Math.trunc,
  "bool": (x) => numbers.truth(x),
  "map": (f, ...columns) => columns[0].map((_, i) => f(...columns.map((column) => column[i]))),
  "operator.mul": (x, y) => x * y,
  "builtins.abs": Math.abs,
  "builtins.sum": sum,
  "list": (xs) => xs,
  "reversed": (xs) => [...xs].reverse(),
  "functools.reduce": (f, xs, ...start) => xs.reduce((x, y) => f(x, y), ...start),
  "itertools.accumulate": (xs, f) => {
    let total;
    return xs.map((x, i) => total = i ? f(total, x) : x);
  },
  "np.exp": Math.exp,
  "np.exp2": (x) => 2 ** x,
  "np.expm1": Math.expm1,
  "np.log": Math.log,
  "np.log2": Math.log2,
  "np.log10": Math.log10,
  "np.log1p": Math.log1p,
  "np.logaddexp": logaddexp,
  "np.sqrt": Math.sqrt,
  "np.cbrt": Math.cbrt,
  "np.square": (x) => x * x,
  "np.reciprocal": (x) => 1 / x,
  "np.power": power,
  "np.mod": mod,
  "np.sin": Math.sin,
  "np.cos": Math.cos,
  "np.tan": Math.tan,
  "np.arcsin": Math.asin,
  "np.arccos": Math.acos,
  "np.arctan": Math.atan,
  "np.arctan2": Math.atan2,
  "np.hypot": Math.hypot,
  "np.sinh": Math.sinh,
  "np.cosh": Math.cosh,
  "np.tanh": Math.tanh,
  "np.arcsinh": Math.asinh,
  "np.arccosh": Math.acosh,
  "np.arctanh": Math.atanh,
  "np.copysign": (x, y) => sign(y) ? -Math.abs(x) : Math.abs(x),
  "np.sign": Math.sign,
  "np.floor": Math.floor,
  "np.ceil": Math.ceil,
  "np.round": (x, decimals) => rint(x * 10 ** decimals) / 10 ** decimals,
  "np.abs": Math.abs,
  "np.max": (xs) => Math.max(...xs),
  "np.isfinite": Number.isFinite,
  "np.maximum": (x, y) => Math.max(x, y),
  "np.minimum": (x, y) => Math.min(x, y),
  "np.maximum.reduce": (xs) => Math.max(...xs),
  "np.minimum.reduce": (xs) => Math.min(...xs),
};

// --- maths in plain text, the same as in viz/maths/notation.py and viz/maths/symbolic.py ---

const SUM = 1, PRODUCT = 2, POWER = 3, ATOM = 4;
const INFIX = {
  add: ["+", SUM], subtract: ["-", SUM], multiply: ["*", PRODUCT], divide: ["/", PRODUCT],
};

const term = (text, tightness = ATOM) => ({ text, tightness });
const within = (x, tightness) => x.tightness >= tightness ? x.text : `(${x.text})`;

// Python's repr of a float.
function repr(x) {
  if (Number.isNaN(x)) return "nan";
  if (!Number.isFinite(x)) return x > 0 ? "inf" : "-inf";
  const [mantissa, exponent] = x.toExponential().split("e").map((part, i) => i ? Number(part) : part);
  if (exponent < -4 || exponent >= 16) {
    const digits = String(Math.abs(exponent)).padStart(2, "0");
    return `${sign(x)}${mantissa.replace("-", "")}e${exponent < 0 ? "-" : "+"}${digits}`;
  }
  const text = sign(x) + String(Math.abs(x));
  return text.includes(".") ? text : `${text}.0`;
}

const sign = (x) => x < 0 || Object.is(x, -0) ? "-" : "";

// The significant digits of a finite x and the power of ten of the first, halves to even, as Python rounds.
function rounded(x, count) {
  const [exact, exponent] = Math.abs(x).toExponential(100).split("e");
  const figures = exact.replace(".", ""), rest = figures.slice(count), half = "5".padEnd(rest.length, "0");
  let kept = BigInt(figures.slice(0, count));
  if (rest > half || (rest === half && kept % 2n === 1n)) kept += 1n;
  const digits = String(kept);
  return { digits, power: Number(exponent) + digits.length - Math.min(count, digits.length) };
}

// Six digits, as Python writes floats.
function decimal(x) {
  if (!Number.isFinite(x) || x === 0) return x === 0 ? "0.0" : repr(x);
  const { digits, power } = rounded(x, 6);
  return repr(Number(`${sign(x)}${digits[0]}.${digits.slice(1)}e${power}`));
}

// Four digits to read at a glance, with a true minus sign: what stands on a card.
function short(x, signed = false) {
  let text;
  if (x === 0) x = 0;  // of the two zeros the one without a sign
  if (!Number.isFinite(x)) text = repr(x);
  else if (Number.isInteger(x) && Math.abs(x) < 1e6) text = sign(x) + String(Math.abs(x));
  else {
    const { digits, power } = rounded(x, 4);
    const mantissa = `${digits[0]}.${digits.slice(1)}`.replace(/\.?0*$/, "");
    text = sign(x) + (power < -4 || power >= 4 ? `${mantissa}e${power}` : String(Number(`${mantissa}e${power}`)));
  }
  return (signed && x > 0 ? "+" : "") + text.replaceAll("-", "−");
}

const numeral = (x) => term(decimal(x), x < 0 ? POWER : ATOM);

function constant(x) {
  const whole = Number.isInteger(x) && Math.abs(x) < 1e6;
  return whole ? term(String(x + 0), x < 0 ? POWER : ATOM) : numeral(x);
}

function code(name, xs, given = []) {
  const texts = xs.map((x) => x.text);
  if (INFIX[name] && xs.length === 2) {
    const [mark, tightness] = INFIX[name];
    return term(`${within(xs[0], tightness)} ${mark} ${within(xs[1], tightness + 1)}`, tightness);
  }
  if (name === "negative") return term(texts[0].startsWith("-") ? `-(${texts[0]})` : `-${within(xs[0], POWER)}`, PRODUCT);
  if (name === "power") return term(`${within(xs[0], ATOM)}**${within(xs[1], ATOM)}`, POWER);
  if (name === "where") return term(`where(${[...given, ...texts].join(", ")})`);
  if (OPS[name].over) {
    const half = texts.length / 2;
    const lists = name === "dot" ? [texts.slice(0, half), texts.slice(half)] : [texts];
    return term(`${name}(${[...lists.map((each) => `[${each.join(", ")}]`), ...given].join(", ")})`);
  }
  return term(`${name}(${[...texts, ...given].join(", ")})`);
}

// A number and the expression for it; `fixed` marks a plain number, which has no name of its own.
class Symbolic {
  constructor(value, name, fixed = false) {
    this.value = value;
    this.name = name;
    this.fixed = fixed;
  }
}

const lift = (x) => x instanceof Symbolic ? x : new Symbolic(x, constant(x), true);
const named = (...xs) => xs.some((x) => x instanceof Symbolic);
const plain = (x) => list(x) ? x.map(plain) : x instanceof Symbolic ? x.value : x;

function arithmetic(name) {
  return (x, y) => {
    if (!named(x, y)) return numbers[name](x, y);
    [x, y] = [lift(x), lift(y)];
    const value = numbers[name](x.value, y.value);
    if (x.fixed && y.fixed) return lift(value);
    if (name === "multiply" && x.fixed && x.value === 1) return y;
    if ((name === "multiply" || name === "divide") && y.fixed && y.value === 1) return x;
    return new Symbolic(value, code(name, [x.name, y.name]));
  };
}

const symbols = {
  ...Object.fromEntries(Object.entries(numbers).map(([key, f]) => [key, (...xs) => f(...xs.map(plain))])),
  ...Object.fromEntries(["add", "subtract", "multiply", "divide"].map((name) => [name, arithmetic(name)])),
  ...Object.fromEntries(["list", "reversed", "map", "itertools.accumulate"].map((name) => [name, numbers[name]])),
  "operator.mul": arithmetic("multiply"),
  negative: (x) => {
    if (!named(x)) return -x;
    return x.fixed ? lift(-x.value) : new Symbolic(-x.value, code("negative", [x.name]));
  },
  call: (name, ...args) => {
    if (!named(...args.flat())) return numbers.call(name, ...args);
    const op = OPS[name], inputs = args.slice(0, op.rules.length), settings = args.slice(inputs.length).map(plain);
    const xs = inputs.flat().map(lift);
    if (name === "power" && xs[1].fixed && xs[1].value === 1) return xs[0];
    const given = settings.map((x, i) => `${op.settings[i]}=${repr(x)}`);
    return new Symbolic(op.forward(numbers, ...inputs.map(plain), ...settings), code(name, xs.map((x) => x.name), given));
  },
};

// --- the graph: its forward and its backward pass, as frames ---

const settingsOf = (node, values) => OPS[node.op].settings.map((key) => {
  return key === "condition" && node.condition ? holds(node.condition, values) : node.params[key];
});

// Whether a condition holds now: a comparison of two operands, each a node, a plain number or an op on operands.
function holds({ sign, x, y }, values) {
  return numbers[sign](operand(x, values), operand(y, values));
}

function operand(x, values) {
  if (typeof x === "number") return values[x];
  if (!x.op) return x.value;
  return OPS[x.op].forward(numbers, ...columns(OPS[x.op], x.inputs.map((each) => operand(each, values))), ...x.settings);
}

// The inputs of an op over sequences stand one after the other; here they are these sequences again.
function columns(op, xs) {
  const n = xs.length / op.rules.length;
  return op.over ? op.rules.map((_, i) => xs.slice(i * n, (i + 1) * n)) : xs;
}

function contributions(M, op, g, out, xs, settings) {
  return op.rules.flatMap((rule) => rule(M, g, out, ...columns(op, xs), ...settings));
}

// Every value and gradient, and a frame for each step of the forward and of the backward pass.
// `given` maps the leaves that were changed to their numbers.
function run(graph, given = {}) {
  if (graph.recorded) return graph.recorded;  // an op has no translation
  const values = graph.nodes.map((node, i) => i in given ? given[i] : node.data);
  const start = { phase: "start", node: null, lines: [], touched: [] };
  const forward = forwardFrames(graph, values);
  const { gradients, frames } = backwardFrames(graph, values);
  return { values, gradients, frames: [start, ...forward, ...frames] };
}

// The value of an inner node.
function valueAt(node, values) {
  return OPS[node.op].forward(numbers, ...columns(OPS[node.op], node.inputs.map((k) => values[k])), ...settingsOf(node, values));
}

// Computes the values of the inner nodes.
function forwardFrames({ nodes }, values) {
  const frames = [];
  nodes.forEach((node, i) => {
    if (!node.op) return;
    const xs = node.inputs.map((k) => values[k]);
    values[i] = valueAt(node, values);
    const filled = node.inputs.map((k, j) => nodes[k].fixed ? constant(xs[j]) : numeral(xs[j]));
    const text = `${node.name} = ${code(node.op, filled, node.given).text} = ${decimal(values[i])}`;
    frames.push({ phase: "forward", node: i, lines: [text], touched: node.inputs, values: { [i]: values[i] } });
  });
  return frames;
}

function backwardFrames({ nodes, steps, root }, values) {
  const gradients = nodes.map(() => 0), reached = new Set([root]), frames = [];
  gradients[root] = 1;
  const named = nodes.map((node, i) => {
    return new Symbolic(values[i], node.fixed ? constant(values[i]) : term(node.name, node.tightness), node.fixed);
  });
  const filled = nodes.map((node, i) => node.fixed ? named[i] : new Symbolic(values[i], numeral(values[i])));
  for (const i of steps) {
    const node = nodes[i], g = gradients[i], lines = [], amounts = [], totals = {}, touched = [];
    if (node.op) {
      const settings = settingsOf(node, values);
      const by = (M, table, g) => {
        return contributions(M, OPS[node.op], g, table[i], node.inputs.map((k) => table[k]), settings);
      };
      const terms = by(numbers, values, g);
      const formulas = by(symbols, named, new Symbolic(g, term(node.d))).map(lift);
      const figures = by(symbols, filled, new Symbolic(g, numeral(g))).map(lift);
      node.inputs.forEach((k, j) => {
        if (nodes[k].constant) return;
        gradients[k] = reached.has(k) ? gradients[k] + terms[j] : terms[j];
        reached.add(k);
        totals[k] = gradients[k];
        touched.push(k);
        amounts.push(terms[j]);
        const parts = [formulas[j].name.text, figures[j].name.text, decimal(terms[j])];
        lines.push(`${nodes[k].d} += ${[...new Set(parts)].join(" = ")}`);
      });
    }
    const sentence = sentenceOf(node, i === root, values[i], g);
    frames.push({ phase: "backward", node: i, sentence, lines, amounts, touched, gradient: g, totals });
  }
  return { gradients, frames };
}

function sentenceOf(node, isRoot, value, g) {
  const made = node.made && node.made !== node.name ? [node.made] : [];
  const is = [node.name, ...made, decimal(value)].join(" = ");
  const whole = `${node.d} = ${decimal(g)}`;
  const sentence = isRoot ? `${is} is the result, so ${whole}.`
    : node.op ? `${is} has its whole gradient, ${whole}.`
    : `${is} is an input: the pass ends here with ${whole}.`;
  return sentence + node.tail;
}
