"""A model as text: the tree of its layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ..tensor import Tensor
from .base import Layer, directly_in, leaf, search
from .hidden import name_of


class Row(NamedTuple):
    """A line of the tree: how deep it stands, what it is, a number (None: nothing to count), and notes."""

    depth: int
    title: str
    number: int | None
    notes: str


def outline(root: Layer) -> str:
    """The tree of a layer, a line each row, with its numbers and notes in columns."""
    drawn = rows(root)
    titles = [stem + row.title for stem, row in zip(stems(drawn), drawn, strict=True)]
    numbers = ["" if row.number is None else f"{row.number:,}" for row in drawn]
    wide, far = max(map(len, titles)), max(map(len, numbers))
    columns = zip(titles, numbers, drawn, strict=True)
    return "\n".join(f"{title:{wide}}  {number:>{far}}  {row.notes}".rstrip() for title, number, row in columns)


def stems(rows: Sequence[Row]) -> list[str]:
    """The branches to the left of each row."""
    found: list[str] = []
    below: set[int] = set()  # depths at which a sibling follows
    for row in reversed(rows):
        trunk = "".join("│  " if depth in below else "   " for depth in range(1, row.depth))
        branch = "" if not row.depth else "├─ " if row.depth in below else "└─ "
        found.append(trunk + branch)
        below = {depth for depth in below if depth < row.depth} | {row.depth}
    return found[::-1]


def rows(root: Layer) -> list[Row]:
    """The lines of a layer's outline: one for each layer, and for each function that a Sequential calls."""
    buffers, drawn = search(root).buffers, dict[int, str]()
    found: list[Row] = []
    left: list[tuple[int, str, str, Any]] = [(0, "", "", root)]
    while left:
        depth, name, path, x = left.pop()
        title = f"{name}: {title_of(x)}" if name else title_of(x)
        if not isinstance(x, Layer) or id(x) in drawn:
            found.append(Row(depth, title, None, f"same as {drawn[id(x)]}" if id(x) in drawn else ""))
            continue
        drawn[id(x)] = path or "the whole"
        held = directly_in(x)
        notes = ", ".join(f"{part} {y.shape}{mark(y, buffers)}" for part, y in held if leaf(y))
        counted = [y.size for _, y in search(x).tensors if id(y) not in buffers]
        if x is root and counted:
            notes = f"parameters; {notes}" if notes else "parameters"
        found.append(Row(depth, title, sum(counted) if counted else None, notes))
        below = [(part, y) for part, y in held if isinstance(y, Layer) or not part]
        left += reversed([(depth + 1, part, ".".join(filter(None, (path, part))), y) for part, y in below])
    return found


def title_of(x: Any) -> str:
    if isinstance(x, Layer):
        return f"{type(x).__name__}({details})" if (details := x._details()) else type(x).__name__
    return name_of(x)


def mark(x: Tensor, buffers: set[int]) -> str:
    return " buffer" if id(x) in buffers else "" if x.requires_grad else " frozen"
