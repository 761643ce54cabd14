"""The playground as one page: the player, with the parser, the layout and all ops of an engine in it.

Nothing is said twice: the ops are translated from their page, and the parser's tables are those of `viz.expression`.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from viz.expression import ALIASES, DEEPEST, KEYWORDS, LONGEST, SPELLINGS
from viz.maths.notation import INFIX, SUPERSCRIPT
from viz.nodes import arity
from viz.player.page import PLAYER, fill, read
from viz.player.translate import RUNTIME, translate

__all__ = ["playground"]

HERE = Path(__file__).parent
PARTS = ("parse", "build", "graph", "layout", "drawing")
USUAL = {"pi": 3.141592653589793, "e": 2.718281828459045}  # numbers that a name suggests
FRESH = [2.0, -3.0, 1.5, 0.5, -1.0, 3.0]  # and those of other names, in turn

EXAMPLES = {
    "tanh(a*b + c), the first steps": ("tanh(a*b + c)", "a:2,b:-3,c:6.5"),
    "A neuron with two inputs": ("tanh(w1*x1 + w2*x2 + b)", "x1:2,w1:-3,x2:0.5,w2:1,b:6"),
    "A squared error": ("(w*x + b - y)**2", "w:0.5,x:2,b:0,y:3"),
    "A logistic loss": ("softplus(-y*(w*x + b))", "y:1,w:0.5,x:-1.5,b:0.2"),
    "Cross-entropy of three classes": ("logsumexp([a, b, c]) - a", "a:1,b:2,c:-0.5"),
    "Two layers": ("w3*tanh(w1*x + b1) + w4*tanh(w2*x + b2)", "w3:1.5,w1:0.8,x:0.5,b1:-0.2,w4:-1,w2:1.2,b2:0.4"),
    "A kink: leaky relu by hand": ("where(x > 0, x, 0.1*x)", "x:-1.5"),
    "x squared, to descend": ("x**2", "x:3"),
    "A curved valley": ("(1 - x)**2 + 5*(y - x**2)**2", "x:-1,y:1.5"),
}


def playground(ops: Mapping[str, Any]) -> str:
    """The page as text, for the ops of an engine by name.

    Raises ValueError for an op that has no JavaScript.
    """
    language = json.dumps(_language(ops)).replace("<", "\\u003c")
    code = [
        "const COMPENSATED = true;",  # sums as Python has them since 3.12, whichever Python writes the page
        RUNTIME,
        translate(ops.values()),
        f"const LANGUAGE = {language};",
        *(_read(f"{name}.js") for name in PARTS),
        PLAYER,
        _read("playground.js"),
    ]
    fields = {
        "title": "Playground",
        "heading": "Playground: type an expression, see how its gradients come about",
        "header": _read("header.html"),
        "style": _read("playground.css"),
        "svg": "",
        "panels": "",
        "script": "\n".join(code),
    }
    return fill(fields)


def _language(ops: Mapping[str, Any]) -> dict[str, Any]:
    """What the parser knows."""
    functions = {name: _function(op) for name, op in ops.items()}
    examples = [{"title": title, "e": e, "v": v} for title, (e, v) in EXAMPLES.items()]
    return {
        "longest": LONGEST,
        "deepest": DEEPEST,
        "spellings": SPELLINGS,
        "aliases": ALIASES,
        "keywords": sorted(KEYWORDS),
        "functions": functions,
        "infix": {name: [sign, tightness] for name, (sign, tightness) in INFIX.items()},
        "superscripts": {chr(plain): chr(raised) for plain, raised in SUPERSCRIPT.items()},
        "usual": USUAL,
        "fresh": FRESH,
        "examples": examples,
    }


def _function(op: Any) -> dict[str, Any]:
    """How many inputs a function takes, and its settings with their defaults, as numbers and as they are written."""
    empty = inspect.Parameter.empty
    settings = [
        {"name": name, "value": None if value is empty else value, "text": "" if value is empty else repr(value)}
        for name, value in op.defaults.items()
    ]
    return {"inputs": arity(op) or len(op.rules), "over": op.over, "settings": settings}


def _read(name: str) -> str:
    return read(HERE / name)
