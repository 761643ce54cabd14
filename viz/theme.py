"""The colours of pictures, plots and the player's page, light and dark."""

from typing import NamedTuple

__all__ = ["THEMES", "Theme", "Tint"]


class Tint(NamedTuple):
    """The colours of a card."""

    fill: str
    border: str
    ink: str


class Theme(NamedTuple):
    """The colours of a picture. Blue and orange differ to every common eye; signs are written as well."""

    paper: str
    ink: str
    edge: str
    still: Tint  # no gradient; its ink is that of all quiet print
    up: Tint
    down: Tint
    mixed: Tint  # a tensor whose gradient has both signs
    alarm: Tint  # NaN or infinity


THEMES = {
    "light": Theme(
        paper="#ffffff",
        ink="#1e293b",
        edge="#94a3b8",
        still=Tint("#f8fafc", "#cbd5e1", "#64748b"),
        up=Tint("#a9d0f5", "#2b7bba", "#12528a"),
        down=Tint("#fbcb98", "#d97706", "#8f4506"),
        mixed=Tint("#d6d3e0", "#8b86a3", "#565170"),
        alarm=Tint("#fda4c0", "#be123c", "#88112f"),
    ),
    "dark": Theme(
        paper="#0f172a",
        ink="#f1f5f9",
        edge="#64748b",
        still=Tint("#1b2639", "#475569", "#94a3b8"),
        up=Tint("#1d5487", "#60a5fa", "#a5d0fb"),
        down=Tint("#7f4412", "#f59e42", "#fdc488"),
        mixed=Tint("#45415c", "#a09ab8", "#cfcae0"),
        alarm=Tint("#7a1236", "#fb5c86", "#ffc2d3"),
    ),
}
