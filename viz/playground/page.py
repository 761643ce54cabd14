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
from viz.player.page import PLAYER, fill, read
from viz.player.translate import RUNTIME, translate

__all__ = ["playground"]

HERE = Path(__file__).parent
PARTS = ("parse", "build", "graph", "layout", "drawing")
SHOWN = ("chart", "descend", "predict", "keys", "playground")
USUAL = {"pi": 3.141592653589793, "e": 2.718281828459045}  # numbers that a name suggests
FRESH = [2.0, -3.0, 1.5, 0.5, -1.0, 3.0]  # and those of other names, in turn

# What the menu offers: parts of an address.
EXAMPLES = {
    "The first steps": {"e": "tanh(a*b + c)", "v": "a:2,b:-3,c:6.5"},
    "A neuron of two inputs": {"e": "tanh(w1*x1 + w2*x2 + b)", "v": "w1:-3,x1:2,w2:1,x2:0.5,b:6"},
    "Two layers": {
        "e": "w3*tanh(w1*x + b1) + w4*tanh(w2*x + b2)",
        "v": "w3:1.5,w1:0.8,x:0.5,b1:-0.2,w4:-1,w2:1.2,b2:0.4",
    },
    "A leaky relu by hand": {"e": "where(x > 0, x, 0.1*x)", "v": "x:-1.5"},
    "Cross-entropy of three classes": {"e": "logsumexp([a, b, c]) - a", "v": "a:1,b:2,c:-0.5"},
    "Descend: x squared": {"e": "x**2", "v": "x:3", "mode": "descend", "rate": "0.1"},
    "Descend: a line meets a point": {
        "e": "(w*x + b - y)**2",
        "v": "w:0.5,x:2,b:0,y:3",
        "mode": "descend",
        "rate": "0.02",
    },
    "Descend: a curved valley": {
        "e": "(1 - x)**2 + 5*(y - x**2)**2",
        "v": "x:-1,y:1.5",
        "mode": "descend",
        "learn": "x,y",
        "rate": "0.02",
    },
    "Forget zero_grad: gradients pile up": {"e": "x**2", "v": "x:3", "mode": "descend", "rate": "0.1", "zero": "off"},
    "Predict: product and sum": {"e": "a*b + b", "v": "a:2,b:-3", "mode": "predict"},
    "Predict: a neuron": {"e": "tanh(w*x + b)", "v": "w:-1,x:0.5,b:1", "mode": "predict"},
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
        *(_read(f"{name}.js") for name in SHOWN),
    ]
    fields = {
        "title": "Playground",
        "heading": "Playground",
        "tools": f"{_read('tools.html')}\n",
        "header": _read("header.html"),
        "style": _read("playground.css"),
        "svg": "",
        "panels": f"{_read('panels.html')}\n",
        "charts": f"{_read('charts.html')}\n",
        "help": f"{_read('help.html')}\n",
        "script": "\n".join(code),
    }
    return fill(fields)


def _language(ops: Mapping[str, Any]) -> dict[str, Any]:
    """What the parser knows."""
    functions = {name: _function(op) for name, op in ops.items()}
    examples = [{"title": title, "parts": parts} for title, parts in EXAMPLES.items()]
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
    """What a function takes, inputs and settings with their defaults as numbers and as written; its meaning."""
    empty = inspect.Parameter.empty
    settings = [
        {"name": name, "value": None if value is empty else value, "text": "" if value is empty else repr(value)}
        for name, value in op.defaults.items()
    ]
    meaning = " ".join((op.__doc__ or "").split())
    return {"letters": list(op.inputs), "over": op.over, "settings": settings, "meaning": meaning}


def _read(name: str) -> str:
    return read(HERE / name)
