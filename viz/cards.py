"""What one node looks like: its caption, its value and gradient in words, its colours."""

import html
import math
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from viz.text import REST, Term, literal, number, plain, stated, write

__all__ = ["THEMES", "Caption", "Node", "Theme", "Tint", "aside", "captions", "card", "gradient", "is_constant", "norm"]

WIDTH = 24  # characters; of a longer expression the longest parts become "…"
EQUALS = "&#160;= "  # Graphviz 2 drops a plain space after bold print
SHADES = 5  # tints from the faintest gradient to the strongest


class Node(Protocol):
    """What a picture needs to know of a node, be it one number or a tensor."""

    @property
    def data(self) -> Any: ...
    @property
    def grad(self) -> Any: ...
    @property
    def op(self) -> Any: ...
    @property
    def inputs(self) -> Sequence[Any]: ...
    @property
    def label(self) -> str: ...


class Tint(NamedTuple):
    """The colours of a card."""

    fill: str
    border: str
    ink: str


class Theme(NamedTuple):
    """The colours of a picture. Blue and orange differ to every common eye; signs are written besides."""

    paper: str
    ink: str
    edge: str
    still: Tint  # no gradient; its ink is that of all quiet print
    up: Tint
    down: Tint
    mixed: Tint  # a tensor whose gradient has both signs


THEMES = {
    "light": Theme(
        paper="#ffffff",
        ink="#1e293b",
        edge="#94a3b8",
        still=Tint("#f8fafc", "#cbd5e1", "#64748b"),
        up=Tint("#a9d0f5", "#2b7bba", "#12528a"),
        down=Tint("#fbcb98", "#d97706", "#8f4506"),
        mixed=Tint("#d6d3e0", "#8b86a3", "#565170"),
    ),
    "dark": Theme(
        paper="#0f172a",
        ink="#f1f5f9",
        edge="#64748b",
        still=Tint("#1b2639", "#475569", "#94a3b8"),
        up=Tint("#1d5487", "#60a5fa", "#a5d0fb"),
        down=Tint("#7f4412", "#f59e42", "#fdc488"),
        mixed=Tint("#45415c", "#a09ab8", "#cfcae0"),
    ),
}


class Caption(NamedTuple):
    """A node's label, and how it was made as far as that is short, ``… + b``. Either may be empty."""

    label: str
    made: str


def captions(nodes: Sequence[Node]) -> list[Caption]:
    """A caption for each node, of nodes that come after their inputs."""
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
    """`node` written with `args`, of which the longest are left out until it fits."""
    args = args if len(args) < 5 else [args[0], REST, args[-1]]
    while True:
        made = write(node.op.name, args, stated(getattr(node, "params", None)))
        longest = max(range(len(args)), key=lambda i: len(args[i].text), default=None)
        if len(made.text) <= WIDTH or longest is None or len(args[longest].text) <= len(REST.text):
            return made
        args[longest] = REST


def _name(node: Node) -> Term:
    """How to refer to `node` without saying how it was made: its label, or the number of a leaf."""
    if label := plain(node.label):
        return Term(_short(label))
    return literal(node.data) if node.op is None and np.ndim(node.data) == 0 else REST


def _short(label: str) -> str:
    return label if len(label) <= WIDTH else label[: WIDTH - 1] + "…"


def card(node: Node, caption: Caption, look: Theme, strongest: float | None) -> dict[str, str]:
    """A card: caption, value, and gradient (unless `strongest` is None), tinted by its strength."""
    label = f"<B>{_markup(caption.label)}</B>" if caption.label else ""
    value, *more = _value(node.data)
    lines = [
        EQUALS.join(filter(None, (label, _markup(caption.made)))),
        f'<FONT POINT-SIZE="13">{_markup(value)}</FONT>',
    ]
    lines += [_font(line, "9", look.still.ink) for line in more]
    tint = look.still
    grad = gradient(node)
    if strongest is not None and grad is not None:
        tint = _tint(grad, strongest, look)
        size = f"norm {number(norm(grad))}" if np.ndim(grad) else number(grad, signed=True)
        lines.append(_font(f"grad {size}", "9", tint.ink))
    return {"label": _stack(lines), "fillcolor": tint.fill, "color": tint.border}


def aside(node: Node, caption: Caption, look: Theme) -> dict[str, str]:
    """A constant: small, grey, without frame or gradient."""
    lines = [" = ".join(filter(None, caption)), *_value(node.data)]
    return {
        "label": _stack([_font(line, "9", look.still.ink) for line in lines if line]),
        "shape": "plaintext",
        "style": "",
        "width": "0.5",
    }


def is_constant(node: Node) -> bool:
    """Whether no gradient is wanted here (a node that does not say, wants one)."""
    return not getattr(node, "requires_grad", True)


def gradient(node: Node) -> Any:
    """The gradient, or None where the engine has none to show (a recorded step may have used it up)."""
    try:
        return node.grad
    except RuntimeError:
        return None


def norm(array: Any) -> float:
    """The Euclidean norm of a number or an array, without overflow on the way."""
    sizes = np.abs(np.asarray(array, dtype=np.float64)).ravel()
    largest = float(sizes.max(initial=0.0))
    return largest * float(np.linalg.norm(sizes / largest)) if 0 < largest < math.inf else largest


def _value(data: Any) -> list[str]:
    """A number as it is, with its dtype if it has one; of an array shape, dtype and norm."""
    if not isinstance(data, np.ndarray):
        return [number(data)]
    if data.ndim == 0:
        return [number(data.item()), str(data.dtype)]
    return [str(data.shape), str(data.dtype), f"norm {number(norm(data))}"]


def _tint(grad: Any, strongest: float, look: Theme) -> Tint:
    """Colour by sign; strength by the square root of the share of the strongest, so that small ones show."""
    size = norm(grad)
    if not size > 0:  # zero, or not a number
        return look.still
    signs = np.sign(grad)
    full = look.up if np.all(signs >= 0) else look.down if np.all(signs <= 0) else look.mixed
    share = math.sqrt(size / strongest) if size < strongest else 1.0
    part = (1 + math.ceil((SHADES - 1) * share)) / SHADES
    return Tint(_blend(look.still.fill, full.fill, part), _blend(look.still.border, full.border, part), full.ink)


def _blend(start: str, end: str, part: float) -> str:
    """The colour that is `part` of the way from `start` to `end`."""
    channels = ((int(start[i : i + 2], 16), int(end[i : i + 2], 16)) for i in (1, 3, 5))
    return "#" + "".join(f"{round(a + (b - a) * part):02x}" for a, b in channels)


def _stack(lines: Sequence[str]) -> str:
    return f"<{'<BR/>'.join(filter(None, lines))}>"


def _font(text: str, size: str, colour: str) -> str:
    return f'<FONT POINT-SIZE="{size}" COLOR="{colour}">{_markup(text)}</FONT>'


def _markup(text: str) -> str:
    """`text` to stand as it is in an HTML-like label, where Graphviz still reads a backslash as an escape."""
    return html.escape(text).replace("\\", "\\\\")
