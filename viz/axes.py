"""What the plots share: figures, quiet frames, ticks with numbers as people write them, text that is shown as it is."""

from __future__ import annotations

import functools
import io
import itertools
import math
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from viz import files
from viz.theme import THEMES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.figure import Figure

__all__ = [
    "apart",
    "epoch_ticks",
    "legible",
    "log_ticks",
    "new_figure",
    "quiet_frame",
    "save",
    "shades",
    "short_number",
    "shortened",
]

THEME = THEMES["light"]
INK, QUIET, FAINT = THEME.ink, THEME.still.ink, THEME.still.border
DOTS = 160  # an inch
SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def new_figure(width: float, height: float, title: str) -> Figure:
    """An empty figure of so many inches, tied to no window and to no list of open figures."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as problem:
        raise ModuleNotFoundError(
            "plots: expected matplotlib, found none; pip install 'twograd[see]'", name="matplotlib"
        ) from problem
    figure = Figure(figsize=(width, height), facecolor=THEME.paper, layout="constrained")
    figure.suptitle(title, fontsize=12, color=INK)
    return figure


def quiet_frame(axes: Axes) -> None:
    """Draw frame and ticks faintly."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    axes.tick_params(color=FAINT, labelcolor=QUIET, labelsize=8, length=3)


def shades(*colours: str) -> LinearSegmentedColormap:
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("shades", colours)


def save(figure: Figure, path: str | os.PathLike[str]) -> Path:
    """Write the figure in the format that the suffix names. Raises ValueError for another one."""
    path = Path(path)
    form = path.suffix.lower().removeprefix(".")
    if form not in ("png", "svg", "pdf"):
        raise ValueError(f"plots: expected a path that ends in .png, .svg or .pdf, got {str(path)!r}")
    picture = io.BytesIO()
    figure.savefig(picture, format=form, dpi=DOTS)
    return files.write(path, picture.getvalue())


# --- numbers --------------------------------------------------------------------------------------------------------


def short_number(value: float, digits: int = 2) -> str:
    """A number as people write it.

    >>> short_number(0.027), short_number(3.1e-6), short_number(1e-5), short_number(0.0), short_number(1234.5)
    ('0.027', '3.1×10⁻⁶', '10⁻⁵', '0', '1,200')
    """
    if value == 0 or not math.isfinite(value):
        return f"{value + 0.0:g}"
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    if -4 <= int(exponent) < 6:
        text = f"{float(f'{value:.{digits}g}'):,.{max(0, digits - 1 - int(exponent))}f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    power = f"10{str(int(exponent)).translate(SUPERSCRIPT)}"
    mantissa = mantissa.rstrip("0").rstrip(".")
    return power if mantissa == "1" else f"{mantissa}×{power}"


def epoch_ticks(axes: Axes, epochs: Sequence[float]) -> None:
    """Whole numbers on the axis of epochs: each of a few, round ones of many."""
    from matplotlib.ticker import MaxNLocator

    if len(epochs) <= 12:
        axes.set_xticks(list(epochs))
    else:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=10, integer=True, steps=[1, 2, 5, 10]))


def log_ticks(low: float, high: float) -> list[float]:
    """Round numbers between two positive ones: powers of ten, and as many between as make it three at least.

    >>> log_ticks(2e-5, 0.3), log_ticks(0.9, 12.0), log_ticks(0.0031, 0.0042)
    ([0.0001, 0.001, 0.01, 0.1], [1.0, 2.0, 5.0, 10.0], [0.0032, 0.0034, 0.0036, 0.0038, 0.004, 0.0042])
    """
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    for digits in ((1,), (1, 2, 5), (1, 2, 3, 5, 7)):
        found = [float(f"{digit}e{power}") for power in range(first, last + 1) for digit in digits]
        found = [tick for tick in found if low <= tick <= high * (1 + 1e-9)]
        if len(found) >= 3:
            every = -(-len(found) // 10)
            return found[::every]
    from matplotlib.ticker import MaxNLocator

    ticks = [float(f"{tick:.12g}") for tick in MaxNLocator(6).tick_values(low, high)]
    return [tick for tick in ticks if low <= tick <= high * (1 + 1e-9)]


def apart(heights: Sequence[float], gap: float) -> list[float]:
    """Move heights of lines of text apart, neighbours in opposite directions, until the lines do not touch."""
    moved = list(map(float, heights))
    order = sorted(range(len(moved)), key=moved.__getitem__)
    for _ in range(50):
        for low, high in itertools.pairwise(order):
            lack = gap - (moved[high] - moved[low])
            if lack > 0:
                moved[low], moved[high] = moved[low] - lack / 2, moved[high] + lack / 2
    return moved


# --- text -----------------------------------------------------------------------------------------------------------


def shortened(text: str, width: int) -> str:
    """The text, or its beginning and its end, where names that are alike may differ."""
    end = width // 3
    return text if len(text) <= width else f"{text[: width - end - 1].rstrip()}…{text[-end:].lstrip()}"


def legible(names: Sequence[Any]) -> tuple[list[str], dict[str, Any]]:
    """Names of classes, and the properties of text that shows them as they stand: a ``$`` starts no formula, and the
    fonts have their letters. Where no font of this machine has them, the name is "class 3", and a warning says so.
    """
    texts = [" ".join(str(name).split()) for name in names]
    fonts, lacking = _fonts(frozenset("".join(texts)))
    if lacking:
        odd = next(text for text in texts if lacking & set(text))
        warnings.warn(
            f"plots: no font on this machine has all letters of {odd!r}; a number stands for it", stacklevel=4
        )
    shown = [f"class {i}" if lacking & set(text) else text for i, text in enumerate(texts)]
    return shown, {"parse_math": False, "fontfamily": fonts}


@functools.lru_cache(8)
def _fonts(letters: frozenset[str]) -> tuple[list[str], set[str]]:
    """The names of as few fonts as have the letters, matplotlib's own first; and the letters that none has."""
    from matplotlib import font_manager, get_data_path
    from matplotlib.ft2font import FT2Font

    own = Path(get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    fonts, lacking = ["DejaVu Sans"], {ord(letter) for letter in letters} - set(FT2Font(own).get_charmap())
    for entry in sorted(font_manager.fontManager.ttflist, key=lambda entry: (entry.style != "normal", entry.name)):
        if not lacking:
            break
        try:
            found = lacking & set(FT2Font(entry.fname).get_charmap())
        except (OSError, RuntimeError):  # a font that was taken away, or is broken
            continue
        if found and entry.style == "normal" and "Last Resort" not in entry.name:  # which has boxes for all letters
            fonts.append(entry.name)
            lacking -= found
    return fonts, {chr(code) for code in lacking}
