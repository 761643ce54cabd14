"""The card of one node: its caption, its value and gradient in words, its colours."""

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from viz.maths.letters import plain
from viz.maths.notation import REST, Term, literal, number, operand, stated, write
from viz.nodes import Node, gradient, norm
from viz.theme import Theme, Tint

__all__ = ["Caption", "aside", "captions", "card"]

WIDTH = 24  # characters; of a longer expression the longest parts become "…"
EQUALS = "&#160;= "  # Graphviz 2 drops a plain space after bold print
SHADES = 6  # tints from the faintest gradient to the strongest, each for a power of ten
SMALL, ROW = 12, 4  # numbers of an array that a card shows in full, at most so many side by side or below each other
GAP = "\N{NO-BREAK SPACE}\N{NO-BREAK SPACE}"  # no-break spaces: Graphviz drops others
ALARM = "⚠ "


class Caption(NamedTuple):
    """A node's label and its expression, shortened to ``… + b``. Either may be empty."""

    label: str
    made: str


def captions(nodes: Sequence[Node], names: Mapping[int, str]) -> list[Caption]:
    """A caption for each node; nodes come after their inputs. `names`, by id, are for those without a label."""
    labels = {id(x): plain(x.label or names.get(id(x), "")) for node in nodes for x in (node, *node.inputs)}
    found: list[Caption] = []
    terms: dict[int, Term] = {}  # how the expressions that use a node refer to it
    for node in nodes:
        label = labels[id(node)]
        made = REST
        if node.op is not None:
            made = _made(node, [terms.get(id(x), _name(x, labels[id(x)])) for x in node.inputs])
        found.append(Caption(_short(label), made.text if node.op is not None else ""))
        terms[id(node)] = _name(node, label) if label or "…" in made.text else made
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


def _name(node: Node, label: str) -> Term:
    """The label of `node`, or the number of a leaf; else ``…``."""
    if label:
        return Term(_short(label), operand(_short(label)))
    return literal(node.data) if node.op is None and np.ndim(node.data) == 0 else REST


def _short(label: str) -> str:
    return label if len(label) <= WIDTH else label[: WIDTH - 1] + "…"


def card(node: Node, caption: Caption, theme: Theme, strongest: float | None) -> dict[str, str]:
    """A card: caption, value, and gradient (unless `strongest` is None), tinted by its strength.

    Where value or gradient is not finite, the card has the colours of an alarm.
    """
    label = f"<B>{_markup(caption.label)}</B>" if caption.label else ""
    grad = gradient(node) if strongest is not None else None
    wrong = not np.all(np.isfinite(node.data))
    tint = theme.still if grad is None or strongest is None else _tint(grad, strongest, theme)
    tint = theme.alarm if wrong else tint
    value, more = _value(node.data)
    lines = [EQUALS.join(filter(None, (label, _markup(caption.made))))]
    lines += [_font(line, "10" if len(value) > 1 else "13", theme.alarm.ink if wrong else "") for line in value]
    lines += [_font(line, "9", theme.still.ink) for line in more]
    if grad is not None:
        lines += [_font(line, "9", tint.ink) for line in _gradient(grad)]
    return {"label": _stack(lines), "fillcolor": tint.fill, "color": tint.border}


def aside(node: Node, caption: Caption, theme: Theme) -> dict[str, str]:
    """A constant: small, grey, without frame or gradient."""
    value, more = _value(node.data)
    ink = theme.still.ink if np.all(np.isfinite(node.data)) else theme.alarm.ink
    lines = [_font(line, "9", theme.still.ink) for line in (" = ".join(filter(None, caption)), *more) if line]
    return {
        "label": _stack([*lines[: 1 if any(caption) else 0], *(_font(line, "9", ink) for line in value), *lines[1:]]),
        "shape": "plaintext",
        "style": "",
        "width": "0.5",
    }


def _value(data: Any) -> tuple[list[str], list[str]]:
    """What a node holds: a number, the rows of a small array, or the shape of a large one; and what is said of it in
    small print."""
    if not isinstance(data, np.ndarray):
        return [_marked(number(data), data)], []
    if data.ndim == 0:
        return [_marked(number(data.item()), data)], [str(data.dtype)]
    if _is_small(data):
        return [_marked(row, data) for row in _rows(data)], [f"{data.shape} {data.dtype}"]
    odd = data.size - np.count_nonzero(np.isfinite(data))
    said = [f"{ALARM}{odd:,} of {data.size:,} not finite"] if odd else []
    return [str(data.shape)], [str(data.dtype), *said, f"norm {number(norm(data))}"]


def _gradient(grad: Any) -> list[str]:
    """A gradient in words: the number, the rows of a small array, or the norm of a large one."""
    if not np.ndim(grad):
        return [_marked(f"grad {number(grad, signed=True)}", grad)]
    if _is_small(grad):
        first, *more = _rows(grad, signed=True)
        return [_marked(f"grad {first}", grad), *more]
    return [_marked(f"grad norm {number(norm(grad))}", grad)]


def _is_small(array: np.ndarray) -> bool:
    """Whether an array's numbers have room on a card, as a row or some rows."""
    return 1 <= array.ndim <= 2 and 0 < array.size <= SMALL and array.shape[0] <= ROW and array.shape[-1] <= ROW


def _rows(array: np.ndarray, signed: bool = False) -> list[str]:
    """The numbers of a small array, a row of it in each line."""
    return [GAP.join(number(x, signed=signed) for x in row) for row in np.atleast_2d(array).tolist()]


def _marked(text: str, data: Any) -> str:
    return text if np.all(np.isfinite(data)) else ALARM + text


def _tint(grad: Any, strongest: float, theme: Theme) -> Tint:
    """Colour by sign, depth by order of magnitude: a shade paler for each power of ten below the strongest, so that a
    gradient that vanishes on its way is seen to. A gradient that is not finite is an alarm."""
    if not np.all(np.isfinite(grad)):
        return theme.alarm
    size = norm(grad)
    if size == 0:
        return theme.still
    signs = np.sign(grad)
    full = theme.up if np.all(signs >= 0) else theme.down if np.all(signs <= 0) else theme.mixed
    decades = max(0, round(math.log10(strongest) - math.log10(size))) if strongest else 0
    part = max(1, SHADES - decades) / SHADES
    return Tint(_blend(theme.still.fill, full.fill, part), _blend(theme.still.border, full.border, part), full.ink)


def _blend(start: str, end: str, part: float) -> str:
    """The colour that is `part` of the way from `start` to `end`."""
    channels = ((int(start[i : i + 2], 16), int(end[i : i + 2], 16)) for i in (1, 3, 5))
    return "#" + "".join(f"{round(a + (b - a) * part):02x}" for a, b in channels)


def _stack(lines: Sequence[str]) -> str:
    return f"<{'<BR/>'.join(filter(None, lines))}>"


def _font(text: str, size: str, colour: str = "") -> str:
    tint = f' COLOR="{colour}"' if colour else ""
    return f'<FONT POINT-SIZE="{size}"{tint}>{_markup(text)}</FONT>'


def _markup(text: str) -> str:
    """Escape `text` for an HTML-like label, where Graphviz still reads a backslash as an escape."""
    return html.escape(text).replace("\\", "\\\\")
