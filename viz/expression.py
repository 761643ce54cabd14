"""From a typed expression to a graph. What is allowed is listed here; nothing is evaluated by `eval`.

This module knows no engine: the caller brings the functions and the way to make a leaf.
"""

from __future__ import annotations

import ast
import difflib
import keyword
import math
import operator
import re
import warnings
from collections.abc import Callable, Container, Iterator, Mapping
from typing import Any

import numpy as np

from viz.maths.letters import normal

__all__ = ["ALIASES", "DEEPEST", "LONGEST", "SPELLINGS", "Comparison", "Mistake", "parse"]

LONGEST = 10_000  # characters
DEEPEST = 100  # brackets within brackets

# What is typed or pasted elsewhere, and how it is written here.
SPELLINGS = {
    **{"^": "**", "−": "-", "–": "-", "—": "-", "×": "*", "·": "*", "⋅": "*", "∙": "*", "÷": "/", "∕": "/"},
    **{"²": "**2", "³": "**3", "⁴": "**4", "½": "0.5", "√": "sqrt(...)", "∛": "cbrt(...)", "≤": "<=", "≥": ">="},
    **{"≠": "!=", "“": "a name without quotes", "”": "a name without quotes", "|": "abs(...)", "%": "mod(a, b)"},
    **{
        ";": ",",
        "//": "floor(a / b)",
        "@": "*",
        "~": "-",
        "’": "a name without a prime",
        "′": "a name without a prime",
    },
}
ALIASES = {
    **{"ln": "log", "lg": "log10", "ld": "log2", "asin": "arcsin", "acos": "arccos", "atan": "arctan"},
    **{"atan2": "arctan2", "tg": "tan", "asinh": "arcsinh", "acosh": "arccosh", "atanh": "arctanh", "sgn": "sign"},
    **{"pow": "power", "sqr": "square", "root": "sqrt", "logistic": "sigmoid", "fabs": "abs", "swish": "silu"},
    **{"avg": "mean", "average": "mean", "product": "prod", "iif": "where", "ceiling": "ceil"},
}
KEYWORDS = set(keyword.kwlist) - {"True", "False"}
TOKEN = re.compile(r"0[xXoObB]\w*|(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][+-]?\d[\d_]*)?|[^\W\d]\w*|[<>=!]=|\*\*|//|\S")

BINARY: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
COMPARE: dict[type, Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
SIGNS = {ast.Lt: "lt", ast.LtE: "le", ast.Gt: "gt", ast.GtE: "ge", ast.Eq: "eq", ast.NotEq: "ne"}


class Mistake(ValueError):
    """An error in an expression, with its column (from 1) and a picture that points at it."""

    def __init__(self, column: int, what: str, text: str) -> None:
        super().__init__(f"column {column}: {what}")
        start = max(0, column - 40)
        shown = text[start : start + 72]
        self.picture = f"  {shown}\n  {' ' * (column - 1 - start)}^"


class Comparison:
    """A condition: its truth, as a bool has it, and how it was typed; `sign` and the nodes `x` and `y` say it again."""

    def __init__(self, truth: bool, text: str, sign: str, x: Any, y: Any) -> None:
        self.truth, self.text, self.sign, self.x, self.y = bool(truth), text, sign, x, y

    def __bool__(self) -> bool:
        return self.truth

    def __repr__(self) -> str:
        return self.text


def parse(text: str, values: Mapping[str, float], functions: Mapping[str, Callable[..., Any]], leaf: Any) -> Any:
    """Return the node of the expression `text`, with a leaf for each name, made by `leaf(value, label)`.

    Numbers become constants, `leaf(value, "", False)`. Lists stand for sequences, comparisons for conditions.

    Raises Mistake if `text` is not an expression, is too long or too deep, has an unknown name or function, or a result
    that is not finite.
    """
    text = re.sub(r"\s", " ", text)  # tabs, new lines, and the spaces that pages paste
    if any(normal(name) != name for name in values):  # Python's parser writes the names in the text so
        known = {normal(name): value for name, value in values.items()}
        if len(known) < len(values):
            raise ValueError("expected a value once for each name, got one name typed in two ways")
        values = known
    try:
        tree = _tree(text, functions)
        with np.errstate(all="ignore"):  # a result that is not finite is an error below
            return _Builder(text, values, functions, leaf).result(tree)
    except RecursionError:
        raise Mistake(1, "too deep to read; sum([a, b, ...]) takes a sum of many terms", text) from None


def _tree(text: str, functions: Container[str]) -> ast.expr:
    if len(text) > LONGEST:
        what = f"expected at most {LONGEST:,} characters, got {len(text):,}"
        raise Mistake(LONGEST + 1, what, text[: LONGEST + 40])
    depth = signs = powers = 0
    for i, char in enumerate(text, 1):
        depth += (char in "([{") - (char in ")]}")
        signs = signs + 1 if char in "+-~" else signs if char == " " else 0
        powers = powers + (text[i : i + 1] == "*") if char == "*" else 0 if char in "+-/,()[]" else powers
        if max(depth, signs, powers) > DEEPEST:
            what = "brackets within each other" if depth > DEEPEST else "signs or powers in a row"
            raise Mistake(i, f"expected at most {DEEPEST} {what}, got more", text)
    if "#" in text:
        raise Mistake(text.index("#") + 1, "expected an expression, got a comment", text)
    if number := re.search(r"\d{4300}", text):  # Python reads no longer ones
        raise Mistake(number.start() + 1, "expected numbers of fewer than 4,300 digits", text)
    if not text.strip():
        raise Mistake(1, "expected an expression, got none", text)
    _check_spelling(text, functions)
    lead = len(text) - len(text.lstrip())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as 1if a else b, which `_Builder` refuses
            return ast.parse(text.strip(), mode="eval").body
    except SyntaxError as error:
        end = len(text.strip()) + 1  # offset 0 stands for it
        column = lead + min(error.offset or end, end)
        what = (error.msg or "invalid syntax").split(". Perhaps")[0]
        raise Mistake(column, f"expected an expression: {what}", text) from None
    except MemoryError:
        raise RecursionError from None  # how the parser says it
    except ValueError as error:
        raise Mistake(1, f"expected an expression: {error}", text) from None


def _check_spelling(text: str, functions: Container[str]) -> None:
    """Raises Mistake for a sign of another notation, and where two numbers or names stand without an operator."""
    last = ""
    for found in TOKEN.finditer(text):
        token = found[0]
        for i, char in enumerate([token] if token in SPELLINGS else token):
            if char in SPELLINGS:
                raise Mistake(found.start() + i + 1, f"write {SPELLINGS[char]} for {char}", text)
        starts = token == "(" or _is_operand(token)
        ends = last == ")" or (_is_operand(last) and (token != "(" or not _is_word(last)))  # a word before ( is called
        if starts and ends and not {token, last} & KEYWORDS:
            left, right = ("(...)" if part in ("(", ")") else part for part in (last, token))
            called = last in functions or last in ALIASES
            what = f"write {last}({token})" if called else f"write {left}*{right}"
            missing = "brackets are" if called else "an operator is"
            raise Mistake(found.start() + 1, f"{missing} missing: {what}", text)
        last = token


def _is_word(token: str) -> bool:
    return token[:1].isalpha() or token[:1] == "_"


def _is_operand(token: str) -> bool:
    return _is_word(token) or token[:1].isdigit() or (token[:1] == "." and len(token) > 1)


class _Builder:
    """Walks an expression without recursion, inputs first."""

    def __init__(self, text: str, values: Mapping[str, float], functions: Mapping[str, Any], leaf: Any) -> None:
        self.text, self.values, self.functions, self.leaf = text, values, functions, leaf
        self.lead = len(text) - len(text.lstrip())
        self.leaves: dict[str, Any] = {}
        self.made: dict[int, Any] = {}

    def result(self, tree: ast.expr) -> Any:
        stack: list[tuple[ast.expr, bool]] = [(tree, False)]
        while stack:
            node, ready = stack.pop()
            if ready:
                self.made[id(node)] = self.checked(node, self.value(node))
            else:
                stack.append((node, True))
                stack.extend((part, False) for part in reversed(list(self.parts(node))))
        result = self.made[id(tree)]
        if not hasattr(result, "op"):
            raise self.mistake(tree, f"expected a number, got {_kind(result)}")
        if unused := [name for name in self.values if name not in self.leaves]:
            raise self.mistake(tree, f"expected values for names in the expression only, got {unused[0]}=")
        return result

    def parts(self, node: ast.expr) -> Iterator[ast.expr]:
        """The expressions inside `node`. Raises Mistake if it is not allowed."""
        match node:
            case ast.Constant(int() | float() | bool()) | ast.Name():
                pass
            case ast.BinOp(left, operation, right) if type(operation) in BINARY:
                yield from (left, right)
            case ast.UnaryOp(ast.USub() | ast.UAdd(), x):
                yield x
            case ast.Compare(left, [sign], [right]) if type(sign) in COMPARE:
                yield from (left, right)
            case ast.List(items) | ast.Tuple(items):
                yield from items
            case ast.Call(ast.Name(name), args, keywords):
                if name not in self.functions:
                    if name in ALIASES:
                        raise self.mistake(node, f"unknown function {name}; write {ALIASES[name]}")
                    if len(name) == 1:
                        raise self.mistake(node, f"unknown function {name}; write {name}*(...) for a product")
                    near = difflib.get_close_matches(name, self.functions, 1)
                    hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(sorted(self.functions))}"
                    raise self.mistake(node, f"unknown function {name}{hint}")
                given = [keyword.arg for keyword in keywords]
                if None in given or len(set(given)) < len(given):
                    raise self.mistake(node, f"{name}: expected each setting once, as name=value")
                yield from args
                yield from (keyword.value for keyword in keywords)
            case _:
                text = ast.get_source_segment(self.text.strip(), node) or ast.unparse(node)
                raise self.mistake(node, f"expected numbers, names, + - * / ** and functions, got {text[:30]}")

    def value(self, node: ast.expr) -> Any:
        """The result of `node`, from the results of its parts."""
        match node:
            case ast.Constant(bool() as truth):
                return truth
            case ast.Constant(value):
                try:
                    return self.leaf(float(value), "", False)  # type: ignore[arg-type]
                except OverflowError:
                    raise self.mistake(node, "expected a number that a float can hold") from None
            case ast.Name(name):
                return self.named(node, name)
            case ast.BinOp(left, operation, right):
                x, y = self.made[id(left)], self.made[id(right)]
                self.numbers(node, x, y)
                if isinstance(operation, ast.Div) and y.data == 0:
                    raise self.mistake(right, "division by zero")
                return BINARY[type(operation)](x, y)
            case ast.UnaryOp(operation, x):
                self.numbers(node, self.made[id(x)])
                return -self.made[id(x)] if isinstance(operation, ast.USub) else self.made[id(x)]
            case ast.Compare(left, [sign], [right]):
                x, y = self.made[id(left)], self.made[id(right)]
                self.numbers(node, x, y)
                text = ast.get_source_segment(self.text.strip(), node) or ""
                return Comparison(COMPARE[type(sign)](x.data, y.data), text, SIGNS[type(sign)], x, y)
            case ast.List(items) | ast.Tuple(items):
                return [self.made[id(item)] for item in items]
            case ast.Call(ast.Name(name), args, keywords):
                return self.called(node, name, [self.made[id(arg)] for arg in args], keywords)
        raise AssertionError(node)

    def named(self, node: ast.expr, name: str) -> Any:
        if name not in self.leaves:
            if name not in self.values:
                what = (
                    f"{name} is a function: call it, {name}(...)" if name in self.functions else f"no value for {name}"
                )
                raise self.mistake(node, what if name in self.functions else f"{what}; add {name}=...")
            self.leaves[name] = self.leaf(self.values[name], name)
        return self.leaves[name]

    def called(self, node: ast.expr, name: str, args: list[Any], keywords: list[ast.keyword]) -> Any:
        """Call a function: its inputs come first; constants after them, and keywords, are plain settings."""
        function = self.functions[name]
        inputs = len(getattr(function, "rules", ())) or len(args)
        given = {str(each.arg): self.made[id(each.value)] for each in keywords}
        conditions = [x for x in (*args, *given.values()) if isinstance(x, Comparison)]
        args = [_plain(arg) if i >= inputs or isinstance(arg, Comparison) else arg for i, arg in enumerate(args)]
        try:
            result = function(*args, **{name: _plain(x) for name, x in given.items()})
        except (TypeError, ValueError) as error:
            python = str(error).startswith(f"{name}()")  # of a function that is no op, and counts in its own words
            what = f"{name}: expected a condition and two inputs, as in {name}(x > 0, x, 0)" if python else str(error)
            raise self.mistake(node, what) from None
        if conditions and getattr(result, "params", None) and "condition" in result.params:
            result.params["condition"] = conditions[0]  # it is written as it was typed
        return self.leaf(result, "", False) if isinstance(result, float) else result  # sum([])

    def numbers(self, node: ast.expr, *xs: Any) -> None:
        for x in xs:
            if not hasattr(x, "op"):
                raise self.mistake(node, f"expected numbers, got {_kind(x)}")

    def checked(self, node: ast.expr, result: Any) -> Any:
        if hasattr(result, "op") and not math.isfinite(result.data):
            text = ast.get_source_segment(self.text.strip(), node) or ""
            raise self.mistake(
                node, f"{text if len(text) < 30 else 'the result'} is {result.data}, not a finite number"
            )
        return result

    def mistake(self, node: ast.expr, what: str) -> Mistake:
        before = self.text.strip().encode()[: node.col_offset].decode(errors="ignore")  # ast counts bytes
        return Mistake(self.lead + len(before) + 1, what, self.text)


def _plain(x: Any) -> Any:
    return x.data if hasattr(x, "op") and not x.requires_grad else bool(x) if isinstance(x, Comparison) else x


def _kind(x: Any) -> str:
    return "a list" if isinstance(x, list) else "a condition" if isinstance(x, (bool, Comparison)) else type(x).__name__
