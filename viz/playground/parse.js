// Typed text to a tree, by the grammar and in the words of viz/expression.py, whose tables stand in LANGUAGE.

class Mistake extends Error {
  constructor(index, what, text) {
    const before = [...text.slice(0, index)].length, start = Math.max(0, before - 39);
    super(`column ${before + 1}: ${what}`);
    this.column = before + 1;
    this.what = what;
    this.shown = [...text].slice(start, start + 72).join("");
    this.caret = " ".repeat(before - start) + "^";
  }
}

const NUMBER = String.raw`0[xXoObB][\p{L}\p{N}_]*|(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][+-]?\d[\d_]*)?`;
const TOKEN = new RegExp(String.raw`${NUMBER}|[\p{L}_][\p{L}\p{M}\p{N}_]*|[<>=!]=|\*\*|//|\S`, "gu");
const DIGITS = String.raw`\d(?:_?\d)*`, EXPONENT = String.raw`[eE][+-]?${DIGITS}`;
const WHOLE = String.raw`0[xX](?:_?[\da-fA-F])+|0[oO](?:_?[0-7])+|0[bB](?:_?[01])+|0(?:_?0)*|[1-9](?:_?\d)*`;
const BROKEN = String.raw`(?:(?:${DIGITS})?\.${DIGITS}|${DIGITS}\.)(?:${EXPONENT})?|${DIGITS}${EXPONENT}`;
const LITERAL = new RegExp(`^(?:${WHOLE}|${BROKEN})$`);

const CLOSING = { "(": ")", "[": "]", "{": "}" };
const isWord = (token) => /^[\p{L}_]/u.test(token);
const isNumber = (token) => /^\.?\d/.test(token);
const isOperand = (token) => isWord(token) || isNumber(token);
const isKeyword = (token) => LANGUAGE.keywords.includes(token);
const isCalled = (token) => Object.hasOwn(LANGUAGE.functions, token) || Object.hasOwn(LANGUAGE.aliases, token);

function tokens(text) {
  const part = ({ 0: token, index }) => ({ token, from: index, to: index + token.length });
  const found = [...text.matchAll(TOKEN)].map(part);
  const end = text.trimEnd().length;
  return [...found, { token: "", from: end, to: end }];
}

// The same checks in the same order as Python's.
function checkText(text) {
  const { longest, deepest } = LANGUAGE, length = [...text].length;
  if (length > longest) {
    const [most, got] = [longest, length].map((n) => n.toLocaleString("en-US"));
    throw new Mistake(longest, `expected at most ${most} characters, got ${got}`, text.slice(0, longest + 40));
  }
  let depth = 0, signs = 0, powers = 0;
  for (let i = 0; i < text.length; i++) {
    const char = text[i];
    depth += "([{".includes(char) - ")]}".includes(char);
    signs = "+-~".includes(char) ? signs + 1 : char === " " ? signs : 0;
    powers = char === "*" ? powers + (text[i + 1] === "*") : "+-/,()[]".includes(char) ? 0 : powers;
    if (Math.max(depth, signs, powers) > deepest) {
      const what = depth > deepest ? "brackets within each other" : "signs or powers in a row";
      throw new Mistake(i, `expected at most ${deepest} ${what}, got more`, text);
    }
  }
  if (text.includes("#")) throw new Mistake(text.indexOf("#"), "expected an expression, got a comment", text);
  if (!text.trim()) throw new Mistake(0, "expected an expression, got none", text);
}

function checkSpelling(text) {
  const { spellings } = LANGUAGE, isSpelt = (sign) => Object.hasOwn(spellings, sign);
  let last = "";
  for (const { token, from } of tokens(text)) {
    let at = from;
    for (const char of isSpelt(token) ? [token] : token) {
      if (isSpelt(char)) throw new Mistake(at, `write ${spellings[char]} for ${char}`, text);
      at += char.length;
    }
    const starts = token === "(" || isOperand(token);
    const ends = last === ")" || (isOperand(last) && (token !== "(" || !isWord(last)));  // a word before ( is called
    if (starts && ends && !isKeyword(token) && !isKeyword(last)) {
      const [left, right] = [last, token].map((part) => "()".includes(part) ? "(...)" : part);
      throw new Mistake(from, isCalled(last)
        ? `brackets are missing: write ${last}(${token})`
        : `an operator is missing: write ${left}*${right}`, text);
    }
    last = token;
  }
}

function checkBrackets(text, list) {
  const open = [];
  for (const { token, from } of list) {
    if (token in CLOSING) open.push({ token, from });
    else if (")]}".includes(token) && token) {
      const last = open.pop();
      if (!last) throw new Mistake(from, `expected an expression: unmatched '${token}'`, text);
      if (CLOSING[last.token] !== token) {
        const what = `closing parenthesis '${token}' does not match opening parenthesis '${last.token}'`;
        throw new Mistake(from, `expected an expression: ${what}`, text);
      }
    }
  }
  const last = open.pop();
  if (last) throw new Mistake(last.from, `expected an expression: '${last.token}' was never closed`, text);
}

const SUMS = { "+": "add", "-": "subtract" }, PRODUCTS = { "*": "multiply", "/": "divide" };
const COMPARISONS = { "<": "lt", "<=": "le", ">": "gt", ">=": "ge", "==": "eq", "!=": "ne" };

// The tree of an expression. Its nodes: number, truth, name, binary, unary, compare, list, call, and refused for what
// Python reads and the language has not.
class Parser {
  constructor(text) {
    this.text = text.replace(/\s/g, " ");
    checkText(this.text);
    checkSpelling(this.text);
    this.list = tokens(this.text);
    checkBrackets(this.text, this.list);
    this.at = 0;
  }

  get token() { return this.list[this.at].token; }
  get from() { return this.list[this.at].from; }
  get end() { return this.list[this.at - 1].to; }

  fail(index = this.from) { throw new Mistake(index, "expected an expression: invalid syntax", this.text); }

  take(token) {
    if (this.token !== token) this.fail();
    this.at++;
  }

  whole() {
    const items = this.items("");
    if (!items.length) this.fail();
    if (this.token) this.fail();
    if (items.length === 1 && !items.comma) return items[0];
    return { kind: "list", from: items[0].from, to: this.end, parts: items };
  }

  // Expressions with commas between them, up to `closing`.
  items(closing) {
    const items = [];
    while (this.token !== closing) {
      items.push(this.expression());
      if (this.token !== ",") break;
      items.comma = true;
      this.at++;
    }
    return items;
  }

  expression() {
    const from = this.from;
    if (isKeyword(this.token)) return this.refused(from);
    const x = this.sum(), signs = [];
    let y = null;
    while (this.token in COMPARISONS) {
      signs.push(COMPARISONS[this.token]);
      this.at++;
      y = this.sum();
    }
    if (isKeyword(this.token)) return this.refused(from);
    if (signs.length > 1) return { kind: "refused", from, to: this.end };
    return y ? { kind: "compare", sign: signs[0], from, to: this.end, parts: [x, y] } : x;
  }

  // Python that the language has not, such as `a if b else c`: all of it, up to the bracket or comma that ends it.
  refused(from) {
    let depth = 0;
    while (this.token && (depth || !")],".includes(this.token))) {
      depth += (this.token in CLOSING) - ")]}".includes(this.token);
      this.at++;
    }
    return { kind: "refused", from, to: this.end };
  }

  sum() { return this.chain(SUMS, () => this.product()); }
  product() { return this.chain(PRODUCTS, () => this.unary()); }

  chain(signs, next) {
    const from = this.from;
    let x = next();
    while (Object.hasOwn(signs, this.token)) {
      const op = signs[this.token];
      this.at++;
      x = { kind: "binary", op, from, parts: [x, next()], to: this.end };
    }
    return x;
  }

  unary() {
    const { token, from } = this;
    if (!["+", "-"].includes(token)) return this.power();
    this.at++;
    const x = this.unary();
    return { kind: "unary", sign: token, from, to: this.end, parts: [x] };
  }

  power() {
    const from = this.from, x = this.postfix();
    if (this.token !== "**") return x;
    this.at++;
    const y = this.unary();
    return { kind: "binary", op: "power", from, to: this.end, parts: [x, y] };
  }

  postfix() {
    const from = this.from;
    let x = this.atom();
    for (;;) {
      if (this.token === "(") x = this.call(x, from);
      else if (this.token === "[") {
        this.at++;
        if (!this.items("]").length) this.fail();
        this.take("]");
        x = { kind: "refused", from, to: this.end };
      } else if (this.token === ".") {
        this.at++;
        if (!isWord(this.token)) this.fail();
        this.at++;
        x = { kind: "refused", from, to: this.end };
      } else return x;
    }
  }

  call(f, from) {
    const args = [], names = [], parts = [];
    this.at++;
    while (this.token !== ")") {
      const stars = ["*", "**"].includes(this.token) ? this.token : "", start = this.from;
      if (stars) this.at++;
      const named = isWord(this.token) && this.list[this.at + 1].token === "=";
      const name = named ? this.token : null;
      if (named) this.at += 2;
      const x = this.expression();
      if (stars === "*") args.push({ kind: "refused", from: start, to: this.end });
      else if (named || stars) { names.push(name); parts.push(x); }
      else if (names.length) this.fail(start);
      else args.push(x);
      if (this.token !== ",") break;
      this.at++;
    }
    this.take(")");
    if (f.kind !== "name") return { kind: "refused", from, to: this.end };
    return { kind: "call", name: f.name, names, args: args.length, from, to: this.end, parts: [...args, ...parts] };
  }

  atom() {
    const { token, from } = this, to = this.list[this.at].to;
    if (token === "(" || token === "[") {
      this.at++;
      const items = this.items(CLOSING[token]);
      this.take(CLOSING[token]);
      if (token === "(" && items.length === 1 && !items.comma) return items[0];
      return { kind: "list", from, to: this.end, parts: items };
    }
    if (token === "'" || token === '"') {
      const quote = this.list.findIndex((each, i) => i > this.at && each.token === token);
      if (quote < 0) this.fail();
      this.at = quote + 1;
      return { kind: "refused", from, to: this.end };
    }
    if (token === "None" || token === "...") return this.refused(from);
    if (isNumber(token)) {
      if (!LITERAL.test(token)) this.fail();
      this.at++;
      return { kind: "number", from, to, literal: token.replaceAll("_", "") };
    }
    if (token === "True" || token === "False") {
      this.at++;
      return { kind: "truth", from, to, truth: token === "True" };
    }
    if (!isWord(token) || isKeyword(token)) this.fail();
    this.at++;
    return { kind: "name", from, to, name: token.normalize("NFKC") };
  }
}
