"""A tree as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Row(NamedTuple):
    """A line of the tree: how deep it stands, what it is, a number (None: nothing to count), and notes."""

    depth: int
    title: str
    number: int | None
    notes: str


def outline(rows: Sequence[Row]) -> str:
    """The tree, a line each row, with its numbers and notes in columns."""
    titles = [stem + row.title for stem, row in zip(stems(rows), rows, strict=True)]
    numbers = ["" if row.number is None else f"{row.number:,}" for row in rows]
    wide, far = max(map(len, titles)), max(map(len, numbers))
    columns = zip(titles, numbers, rows, strict=True)
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
