"""From the engine's op page to JavaScript: forwards and rules are translated, not written a second time.

An op page uses little of Python: arithmetic, comparisons, conditional expressions, comprehensions, and calls of other
ops, of helpers on the page, of a few builtins and of numpy. Arithmetic and calls become calls of an object M, so that
one translation computes with plain numbers and, with another M, with expressions. The page's constants are written as
numbers.

>>> print(expression("g * (1.0 if x > 0 else 0.0)"))
M.multiply(g, (M.gt(x, 0) ? 1.0 : 0.0))
"""

from __future__ import annotations

import ast
import builtins
import functools
import inspect
import json
import re
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import numpy as np

__all__ = ["RUNTIME", "expression", "translate"]

RUNTIME = Path(__file__).with_name("runtime.js").read_text(encoding="utf-8")
KNOWN = set(re.findall(r'^ *"([\w.]+)": ', RUNTIME, re.MULTILINE))  # the functions of Python and numpy in the runtime

ARITHMETIC = {ast.Add: "add", ast.Sub: "subtract", ast.Mult: "multiply", ast.Div: "divide"}
COMPARISONS = {ast.Lt: "lt", ast.LtE: "le", ast.Gt: "gt", ast.GtE: "ge", ast.Eq: "eq", ast.NotEq: "ne"}


def translate(ops: Iterable[Any]) -> str:
    """Translate these ops, and those they call, into an object literal ``{name: {forward, rules or over, settings}}``.

    Raises ValueError, naming the op and the line, for Python without a translation.
    """
    wanted: list[Any] = list(ops)  # ops, and helpers as pairs of a page and a name
    entries: dict[str, str] = {}
    helpers: dict[str, str] = {}
    while wanted:
        each = wanted.pop()
        page, name = each if isinstance(each, tuple) else (_page_of(each), each.forward.__name__)
        public = name.removesuffix("_")
        if name in helpers or public in entries:
            continue
        writer = _Writer(page)
        try:
            block = page.blocks.get(name)
            if block is None or not (isinstance(each, tuple) or page.is_op(block)):
                raise _NoTranslation(None, "the source of its @op is not at hand")
            if page.is_op(block):
                entries[public] = writer.op(block)
            else:
                helpers[name] = writer.function(block)
        except _NoTranslation as problem:
            raise ValueError(f"translate: {public}: {problem}") from None
        wanted += [*((page, called) for called in sorted(writer.called)), *writer.ops.values()]
    lines = [f"function {name}{text}" for name, text in sorted(helpers.items())]
    lines += ["const OPS = {", *(f"  {json.dumps(name)}: {text}," for name, text in sorted(entries.items())), "};"]
    return "\n".join(lines) + "\n"


def expression(source: str) -> str:
    """Translate one Python expression. Raises ValueError if it has no translation."""
    return _Writer(_Page({}, {})).expression(ast.parse(source, mode="eval").body)


class _NoTranslation(ValueError):
    def __init__(self, node: ast.AST | None, why: str = "") -> None:
        where = f"no JavaScript for line {getattr(node, 'lineno', 0)}: {ast.unparse(node)}" if node else ""
        super().__init__("; ".join(filter(None, [where, why])))


class _Page:
    """The functions of a module by name, its constants, numbers and tuples of numbers, its other names, and the ops of
    the engine."""

    def __init__(
        self, blocks: Mapping[str, ast.FunctionDef], names: Mapping[str, Any], ops: Mapping[str, Any] | None = None
    ) -> None:
        self.blocks, self.names, self.ops = blocks, names, ops or {}
        self.constants = {name: x for name, x in names.items() if type(x) in (int, float, tuple)}

    def is_op(self, block: ast.FunctionDef) -> bool:
        return self.decorator(block) is not None

    def decorator(self, block: ast.FunctionDef) -> ast.Call | None:
        """The ``@op(...)`` or ``@scalar.op(...)`` above a block, if there is one."""
        calls = [each for each in block.decorator_list if isinstance(each, ast.Call)]
        return next((call for call in calls if getattr(call.func, "id", getattr(call.func, "attr", "")) == "op"), None)

    def meant(self, node: ast.expr) -> Any:
        """What a name, or a name in a module, stands for on the page; None if it is not known."""
        if isinstance(node, ast.Attribute):
            module = self.meant(node.value)
            return getattr(module, node.attr, None) if isinstance(module, ModuleType) else None
        return self.names.get(node.id) if isinstance(node, ast.Name) else None


def _page_of(op: Any) -> _Page:
    """The page that an op stands on: the module of its forward, or the cells of a notebook."""
    module = op.forward.__module__
    table = getattr(sys.modules.get(type(op).__module__), "OPS", {})
    if module != "__main__" and module in sys.modules:
        page = _page(sys.modules[module])
        return _Page(page.blocks, page.names, table)
    names = op.forward.__globals__
    functions = [getattr(x, "forward", x) for x in (op, *names.values())]
    own = [f for f in functions if isinstance(f, FunctionType) and f.__module__ == module]
    return _Page({f.__name__: block for f in reversed(own) if (block := _block(f))}, names, table)


def _block(f: FunctionType) -> ast.FunctionDef | None:
    """A function as it was written; None where its source is not at hand."""
    try:
        (block,) = ast.parse(textwrap.dedent(inspect.getsource(f))).body
    except (OSError, TypeError, ValueError, SyntaxError):
        return None
    return block if isinstance(block, ast.FunctionDef) else None


@functools.cache
def _page(module: Any) -> _Page:
    tree = ast.parse(inspect.getsource(module))
    return _Page({block.name: block for block in tree.body if isinstance(block, ast.FunctionDef)}, vars(module))


class _Writer:
    """Translates one block and collects the blocks of its page that it calls."""

    def __init__(self, page: _Page) -> None:
        self.page = page
        self.called: set[str] = set()
        self.ops: dict[str, Any] = {}  # called, of other pages
        self.local: set[str] = set()  # parameters and other names of a function, which hide what the page calls so

    def op(self, block: ast.FunctionDef) -> str:
        """An op's entry: a forward of (M, inputs, settings) and rules of (M, g, out, inputs, settings).

        A rule in Python has a parameter for each thing that it reads; in JavaScript every rule takes all of them.
        """
        decorator = self.page.decorator(block)
        assert decorator is not None
        n = len(decorator.args)
        names = [arg.arg for arg in block.args.args]
        over = any(each.arg == "over" for each in decorator.keywords)
        shapes = [f"{x}_shape = [{x}.length]" for x in names[:n]] if over else []
        rules = [self.rule(rule, ["g", "out", *names, *shapes]) for rule in decorator.args]
        parts = [f"forward: {self.arrow(names, self.body(block))}", f"rules: [{', '.join(rules)}]"]
        return f"{{{', '.join(parts)}, over: {json.dumps(over)}, settings: {json.dumps(names[n:])}}}"

    def rule(self, rule: ast.expr, given: Sequence[str]) -> str:
        """A rule as a function of all that is `given`. Raises _NoTranslation if it reads another name."""
        match rule:
            case ast.Subscript(value, ast.Slice(None, ast.expr() as end, None)):
                return f"{self.expression(value)}.slice(0, {ast.unparse(end)})"
            case ast.Starred(value):
                return f"...{self.expression(value)}"
            case ast.Lambda(args, body):
                self.local = set(self.parameters(args))
                text = self.expression(body)
            case ast.Name(name) if name in self.page.blocks:
                args = self.page.blocks[name].args
                text = self.call(rule, self.parameters(args))
            case _:
                raise _NoTranslation(rule)
        if not set(self.parameters(args)) <= {each.split(" ")[0] for each in given}:
            raise _NoTranslation(rule)
        return self.arrow(given, text)

    def function(self, block: ast.FunctionDef) -> str:
        return f"({', '.join(['M', *self.parameters(block.args)])}) {self.body(block)}"

    def arrow(self, parameters: Sequence[str], body: str) -> str:
        return f"({', '.join(['M', *parameters])}) => {body}"

    def parameters(self, args: ast.arguments) -> list[str]:
        return [arg.arg for arg in args.args]

    def body(self, block: ast.FunctionDef) -> str:
        self.local = set(self.parameters(block.args))
        lines = [self.statement(line) for line in block.body]
        return f"{{ {' '.join(filter(None, lines))} }}"

    def statement(self, line: ast.stmt) -> str:
        match line:
            case ast.Expr(ast.Constant()):
                return ""  # the docstring
            case ast.Expr(value):
                return f"{self.expression(value)};"
            case ast.Return(ast.expr() as value):
                return f"return {self.expression(value)};"
            case ast.Assign([ast.Name(name)], value):
                text = f"const {name} = {self.expression(value)};"
                self.local.add(name)
                return text
            case ast.If(test, body, []):
                return f"if ({self.truth(test)}) {{ {' '.join(map(self.statement, body))} }}"
            case ast.Raise(ast.Call(ast.Name(), [ast.JoinedStr(parts)])):
                return f"throw new Error({' + '.join(map(self.piece, parts))});"
        raise _NoTranslation(line)

    def piece(self, part: ast.expr) -> str:
        """A piece of an f-string."""
        return self.expression(part.value if isinstance(part, ast.FormattedValue) else part)

    def expression(self, node: ast.expr) -> str:
        match node:
            case ast.Constant(bool() | None | str() as value):
                return json.dumps(value)
            case ast.Constant(int() | float() as value):
                return repr(value)
            case ast.Name():
                return self.name(node)
            case ast.BinOp(left, operation, right) if type(operation) in ARITHMETIC:
                return f"M.{ARITHMETIC[type(operation)]}({self.expression(left)}, {self.expression(right)})"
            case ast.BinOp(left, ast.Pow(), right) if "power" in self.page.ops:
                self.ops["power"] = self.page.ops["power"]
                return f'M.call("power", {self.expression(left)}, {self.expression(right)})'
            case ast.UnaryOp(ast.USub(), value):
                return f"M.negative({self.expression(value)})"
            case ast.UnaryOp(ast.Not(), value):
                return f"!{self.truth(value)}"
            case ast.BoolOp(operation, values):
                sign = " && " if isinstance(operation, ast.And) else " || "
                return f"({sign.join(map(self.truth, values))})"
            case ast.Compare(left, signs, rights) if all(type(sign) in COMPARISONS for sign in signs):
                pairs = zip([left, *rights], signs, rights, strict=False)
                texts = [f"M.{COMPARISONS[type(s)]}({self.expression(a)}, {self.expression(b)})" for a, s, b in pairs]
                return texts[0] if len(texts) == 1 else f"({' && '.join(texts)})"
            case ast.IfExp(test, body, otherwise):
                return f"({self.truth(test)} ? {self.expression(body)} : {self.expression(otherwise)})"
            case ast.List(items) | ast.Tuple(items):
                return f"[{', '.join(map(self.expression, items))}]"
            case ast.ListComp(element, [ast.comprehension(ast.Name(each), xs, [])]) | ast.GeneratorExp(
                element, [ast.comprehension(ast.Name(each), xs, [])]
            ):
                within = self.expression(xs)
                self.local.add(each)
                return f"{within}.map(({each}) => {self.expression(element)})"
            case ast.Subscript(value, ast.Slice(None, ast.expr() as end, None)):
                return f"{self.expression(value)}.slice(0, {ast.unparse(end)})"
            case ast.Starred(value):
                return f"...{self.expression(value)}"
            case ast.Lambda(args, body):
                self.local |= set(self.parameters(args))
                return f"({', '.join(self.parameters(args))}) => {self.expression(body)}"
            case ast.Subscript(value, ast.Constant(int() as at)):
                return f"{self.expression(value)}[{at}]"
            case ast.Call(func, args, []):
                return self.call(func, [self.expression(arg) for arg in args])
            case ast.Attribute():
                return self.name(node)
        raise _NoTranslation(node)

    def truth(self, node: ast.expr) -> str:
        """A condition, by Python's truth of values where JavaScript's differs."""
        text = self.expression(node)
        return text if text.startswith("!") or isinstance(node, (ast.Compare, ast.BoolOp)) else f"M.truth({text})"

    def call(self, func: ast.expr, args: Sequence[str]) -> str:
        if isinstance(func, ast.Name) and func.id in self.page.blocks:
            self.called.add(func.id)
            if self.page.is_op(self.page.blocks[func.id]):
                return f"M.call({', '.join([json.dumps(func.id.rstrip('_')), *args])})"
            return f"{func.id}({', '.join(['M', *args])})"
        meant = self.page.meant(func)
        name = getattr(meant, "name", "")
        if self.page.ops.get(name) is meant is not None and not (isinstance(func, ast.Name) and func.id in self.local):
            self.ops[name] = meant
            return f"M.call({', '.join([json.dumps(name), *args])})"
        return f"{self.name(func)}({', '.join(args)})"

    def name(self, node: ast.expr) -> str:
        """A local name as it is; a constant as its number; a function of Python or numpy from the runtime's table."""
        text = ast.unparse(node)
        if text in self.local:
            return text
        if text in self.page.constants:
            return json.dumps(self.page.constants[text])
        if isinstance(node, ast.Name) and text in self.page.blocks and not self.page.is_op(self.page.blocks[text]):
            self.called.add(text)
            return text
        if text in KNOWN:
            return f"M[{json.dumps(text)}]"
        meant = self.page.meant(node)
        known = f"np.{getattr(meant, '__name__', '')}"  # as numpy calls it, whatever it is called here
        if known in KNOWN and meant is getattr(np, known[3:], None):
            return f"M[{json.dumps(known)}]"
        if not isinstance(node, ast.Name) or hasattr(builtins, text) or meant is not None:
            raise _NoTranslation(node, f"{known} has one" if known in KNOWN else "")
        return text
