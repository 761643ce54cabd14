"""The card of one node: its caption, its value and gradient in words, its colours."""

import html
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from viz.maths.letters import plain
from viz.maths.notation import REST, Term, literal, number, operand, stated, write
from viz.nodes import Node, gradient, norm
from viz.theme import Theme, Tint

__all__ = ["Caption", "aside", "captions", "card"]

WIDTH = 24  # characters; of a longer expression the longest parts become "…"
EQUALS = "&#160;= "  # Graphviz 2 drops a plain space after bold print
SHADES = 5  # tints from the faintest gradient to the strongest


class Caption(NamedTuple):
    """A node's label and its expression, shortened to ``… + b``. Either may be empty."""

    label: str
    made: str


def captions(nodes: Sequence[Node]) -> list[Caption]:
    """A caption for each node; nodes come after their inputs."""
    found: list[Caption] = []
    terms: dict[int, Term] = {}  # how the expressions that use a node refer to it
    for node in nodes:
        label = plain(node.label)
        made = REST
        if node.op is not None:
            made = _made(node, [terms.get(id(source), _name(source)) for source in node.inputs])
        found.append(Caption(_short(label), made.text if node.op is not None else ""))
        terms[id(node)] = _name(node) if label or "…" in made.text else made
    return found


def _made(node: Node, args: list[Term]) -> Term:
    """The expression of `node` with `args`, of which the longest are left out until it fits."""
    args = args if len(args) < 5 else [args[0], REST, args[-1]]
    while True:
        made = write(node.op.name, args, stated(getattr(node, "params", None)))
        longest = max(range(len(args)), key=lambda i: len(args[i].text), default=None)
        if len(made.text) <= WIDTH or longest is None or len(args[longest].text) <= len(REST.text):
            return made
        args[longest] = REST


def _name(node: Node) -> Term:
    """The label of `node`, or the number of a leaf; else ``…``."""
    if label := plain(node.label):
        return Term(_short(label), operand(_short(label)))
    return literal(node.data) if node.op is None and np.ndim(node.data) == 0 else REST


def _short(label: str) -> str:
    return label if len(label) <= WIDTH else label[: WIDTH - 1] + "…"


def card(node: Node, caption: Caption, theme: Theme, strongest: float | None) -> dict[str, str]:
    """A card: caption, value, and gradient (unless `strongest` is None), tinted by its strength."""
    label = f"<B>{_markup(caption.label)}</B>" if caption.label else ""
    value, *more = _value(node.data)
    lines = [
        EQUALS.join(filter(None, (label, _markup(caption.made)))),
        f'<FONT POINT-SIZE="13">{_markup(value)}</FONT>',
    ]
    lines += [_font(line, "9", theme.still.ink) for line in more]
    tint = theme.still
    grad = gradient(node)
    if strongest is not None and grad is not None:
        tint = _tint(grad, strongest, theme)
        size = f"norm {number(norm(grad))}" if np.ndim(grad) else number(grad, signed=True)
        lines.append(_font(f"grad {size}", "9", tint.ink))
    return {"label": _stack(lines), "fillcolor": tint.fill, "color": tint.border}


def aside(node: Node, caption: Caption, theme: Theme) -> dict[str, str]:
    """A constant: small, grey, without frame or gradient."""
    lines = [" = ".join(filter(None, caption)), *_value(node.data)]
    return {
        "label": _stack([_font(line, "9", theme.still.ink) for line in lines if line]),
        "shape": "plaintext",
        "style": "",
        "width": "0.5",
    }


def _value(data: Any) -> list[str]:
    """A number and its dtype if it has one; the shape, dtype and norm of an array."""
    if not isinstance(data, np.ndarray):
        return [number(data)]
    if data.ndim == 0:
        return [number(data.item()), str(data.dtype)]
    return [str(data.shape), str(data.dtype), f"norm {number(norm(data))}"]


def _tint(grad: Any, strongest: float, theme: Theme) -> Tint:
    """Colour by sign; depth by the square root of the ratio to the strongest, so that small gradients show."""
    size = norm(grad)
    if not size > 0:  # zero, or not a number
        return theme.still
    signs = np.sign(grad)
    full = theme.up if np.all(signs >= 0) else theme.down if np.all(signs <= 0) else theme.mixed
    depth = math.sqrt(size / strongest) if size < strongest else 1.0
    part = (1 + math.ceil((SHADES - 1) * depth)) / SHADES
    return Tint(_blend(theme.still.fill, full.fill, part), _blend(theme.still.border, full.border, part), full.ink)


def _blend(start: str, end: str, part: float) -> str:
    """The colour that is `part` of the way from `start` to `end`."""
    channels = ((int(start[i : i + 2], 16), int(end[i : i + 2], 16)) for i in (1, 3, 5))
    return "#" + "".join(f"{round(a + (b - a) * part):02x}" for a, b in channels)


def _stack(lines: Sequence[str]) -> str:
    return f"<{'<BR/>'.join(filter(None, lines))}>"


def _font(text: str, size: str, colour: str) -> str:
    return f'<FONT POINT-SIZE="{size}" COLOR="{colour}">{_markup(text)}</FONT>'


def _markup(text: str) -> str:
    """Escape `text` for an HTML-like label, where Graphviz still reads a backslash as an escape."""
    return html.escape(text).replace("\\", "\\\\")
