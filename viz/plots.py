"""Plots of a training and of a model's predictions, drawn by matplotlib, which is optional.

>>> from viz import plots
>>> history = [{"epoch": 1, "loss": 0.54, "accuracy": 0.81}, {"epoch": 2, "loss": 0.41, "accuracy": 0.85}]
>>> picture = plots.curves(history, "curves.png")  # doctest: +SKIP

Every function writes one picture to `path`, whose suffix names the format (.png, .svg, .pdf), and returns the path.
The file appears whole or not at all. No window opens, and matplotlib's settings stay as they are. Without matplotlib
every function raises ModuleNotFoundError with the command that installs it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from viz.axes import (
    FAINT,
    INK,
    QUIET,
    THEME,
    apart,
    epoch_ticks,
    legible,
    log_ticks,
    new_figure,
    quiet_frame,
    save,
    shades,
    short_number,
    shortened,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "boundary",
    "confusion",
    "curves",
    "gradients",
    "learning_rates",
    "mistakes",
    "predictions",
    "profile",
    "weights",
]

BLUE, ORANGE = THEME.up, THEME.down  # they differ to every common eye; their meaning is written as well
MOST = 100  # classes with a number in each field and a name each
DOTTED = 60  # epochs; the points of more would hide the line


def curves(history: Sequence[Mapping[str, float]], path: str | os.PathLike[str]) -> Path:
    """Plot loss and accuracy (or error) by epoch, while training and on the test set.

    `history` holds a row an epoch with `epoch`, `loss`, perhaps `accuracy` or `error`, and, if there was a test set,
    `test_loss` and so on, as `fit` returns it. Raises ValueError when it is empty.
    """
    if not history:
        raise ValueError("curves: expected at least one epoch, got none")
    figure = new_figure(9.6, 3.9, "Training, epoch by epoch")
    epochs = [row["epoch"] for row in history]
    fields = {field for row in history for field in row}
    keys = ["loss", *[key for key in ("accuracy", "error") if key in fields]]
    for axes, key in zip(figure.subplots(1, len(keys), squeeze=False)[0], keys, strict=True):
        quiet_frame(axes)
        axes.set_title(key, loc="left", fontsize=10, color=QUIET)
        axes.set_xlabel("epoch", fontsize=9, color=QUIET)
        axes.grid(axis="y", color=FAINT, linewidth=0.6, alpha=0.6)
        ends = []
        for name, field, tint, dots in (
            ("train", key, BLUE, BLUE.border),
            ("test", f"test_{key}", ORANGE, THEME.paper),
        ):
            if field in fields:
                values = [row.get(field, np.nan) for row in history]
                style = "o-" if len(epochs) <= DOTTED else "-"
                axes.plot(epochs, values, style, color=tint.border, linewidth=2, markersize=5, markerfacecolor=dots)
                ends.append((values[-1], f" {name} {values[-1]:.4f}", tint.ink))
        epoch_ticks(axes, epochs)
        axes.margins(x=0.05, y=0.1)
        low, high = axes.get_ylim()
        heights = [y if np.isfinite(y) else high for y, _, _ in ends]
        for y, (_, text, ink) in zip(apart(heights, 0.07 * (high - low)), ends, strict=True):
            axes.annotate(text, (1.0, y), xycoords=("axes fraction", "data"), va="center", fontsize=9, color=ink)
    return save(figure, path)


def gradients(history: Sequence[Mapping[str, float]], path: str | os.PathLike[str]) -> Path:
    """Plot the size of each parameter's gradient by epoch: a layer that the gradient hardly reaches hardly learns.

    `history` holds a row an epoch with `epoch` and a size for each parameter by name, ``hidden.weight``: what stands
    before the last dot is the layer, which gives the colour; weights are drawn solid, the others dashed. Layers that
    are only numbered are called hidden, the last of them output. A size of 0, of a layer that is dead, lies on a line
    of its own below the others. Raises ValueError when `history` is empty.
    """
    names = list(dict.fromkeys(name for row in history for name in row if name != "epoch"))
    if not names:
        raise ValueError("gradients: expected at least one epoch with a size for each parameter, got none")
    layers = list(dict.fromkeys(name.rpartition(".")[0] for name in names))
    height = max(4.2, 0.24 * len(names))
    figure = new_figure(7.2, height, "Gradient flow: root mean square of each parameter's gradient")
    axes = figure.subplots()
    quiet_frame(axes)
    axes.set_xlabel("epoch", fontsize=9, color=QUIET)
    epochs = [row["epoch"] for row in history]
    sizes = {name: np.array([row.get(name, np.nan) for row in history], float) for name in names}
    zero = _size_axis(axes, np.concatenate(list(sizes.values())))
    ends = []
    for name, called in zip(names, _in_words(names, layers), strict=True):
        place = layers.index(name.rpartition(".")[0]) / max(1, len(layers) - 1)
        line, ink = (shades(*(getattr(tint, part) for tint in (BLUE, ORANGE)))(place) for part in ("border", "ink"))
        drawn = np.where(sizes[name] > 0, sizes[name], np.where(sizes[name] == 0, zero, np.nan))
        drawn[~np.isfinite(drawn)] = np.nan
        style = ("o" if len(epochs) <= DOTTED else "") + ("-" if name.endswith("weight") else "--")
        axes.plot(epochs, drawn, style, color=line, linewidth=2, markersize=4)
        known = drawn[~np.isnan(drawn)]
        ends.append((np.log10(known[-1] if known.size else zero), f" {called} {short_number(sizes[name][-1])}", ink))
    epoch_ticks(axes, epochs)
    low, high = np.log10(axes.get_ylim())
    gap = 0.25 / height * (high - low)
    for y, (_, text, ink) in zip(apart([end[0] for end in ends], gap), ends, strict=True):
        at = (1.0, 10.0**y)
        axes.annotate(
            text, at, xycoords=("axes fraction", "data"), va="center", fontsize=9, color=ink, parse_math=False
        )
    return save(figure, path)


def _size_axis(axes: Axes, sizes: np.ndarray) -> float:
    """A logarithmic axis for these sizes, with a line for those that are 0 at its lower end; returns where it lies."""
    positive = sizes[(sizes > 0) & np.isfinite(sizes)]
    low, high = (positive.min(), positive.max()) if positive.size else (1.0, 1.0)
    axes.set_yscale("log")
    zero, room = low / max(10.0, (high / low) ** 0.2), max(1.02, (high / low) ** 0.06)
    ticks = {tick: short_number(tick, 4) for tick in log_ticks(low / room, high * room)} if positive.size else {}
    dead = bool(np.any(sizes == 0)) or not positive.size
    bottom, top = (zero / room if dead else low) / room, high * room * room
    axes.set_ylim(*(bottom, top) if positive.size else (zero / 10, zero * 10))
    if dead:
        ticks = {zero: "0"} | ticks
        axes.axhline(zero, color=FAINT, linewidth=1.0, linestyle=":")
    axes.set_yticks(list(ticks), list(ticks.values()))
    axes.set_yticks([], minor=True)
    axes.grid(axis="y", color=FAINT, linewidth=0.6, alpha=0.6)
    return float(zero)


def _in_words(names: Sequence[str], layers: Sequence[str]) -> list[str]:
    """Parameters in words: "hidden weights" for ``hidden.weight``, and for ``0.weight`` where ``1.weight`` follows."""
    words = {"weight": "weights", "bias": "biases"}
    numbered = [layer for layer in layers if re.fullmatch(r"(layers\.)?\d+", layer)]
    called = {layer: layer.replace("_", " ") for layer in layers}
    for i, layer in enumerate(numbered):
        inner = "hidden" if len(numbered) == 2 else f"hidden {i + 1}"
        called[layer] = "output" if i == len(numbered) - 1 and i else inner if len(numbered) > 1 else ""
    parts = [name.rpartition(".")[::2] for name in names]
    return [f"{called[layer]} {words.get(last, last.replace('_', ' '))}".strip() for layer, last in parts]


def mistakes(
    images: np.ndarray,
    labels: np.ndarray,
    probabilities: np.ndarray,
    class_names: Sequence[str],
    path: str | os.PathLike[str],
    most: int = 40,
) -> Path:
    """Show the `most` wrong predictions of which the model was surest, the surest first.

    Takes the arrays of `predictions`, for all images; raises ValueError as it does, and if no prediction is wrong.
    """
    images, labels, probabilities = _checked("mistakes", images, labels, probabilities, class_names)
    wrong = np.flatnonzero(probabilities.argmax(1) != labels)
    if not wrong.size:
        raise ValueError("mistakes: expected at least one wrong prediction, got none")
    surest = wrong[np.argsort(-probabilities[wrong].max(1), kind="stable")[:most]]
    title = f"The surest of {len(wrong):,} mistakes"
    return _grid(images[surest], labels[surest], probabilities[surest], class_names, title, path)


def predictions(
    images: np.ndarray,
    labels: np.ndarray,
    probabilities: np.ndarray,
    class_names: Sequence[str],
    path: str | os.PathLike[str],
) -> Path:
    """Show images, the class predicted for each and its probability; wrong ones are framed and marked.

    images (n, height, width); labels (n,) class numbers; probabilities (n, classes). Raises ValueError when they do
    not fit together, or a class has no name.
    """
    images, labels, probabilities = _checked("predictions", images, labels, probabilities, class_names)
    right = np.count_nonzero(probabilities.argmax(1) == labels)
    return _grid(images, labels, probabilities, class_names, f"Predictions: {right:,} of {len(images):,} right", path)


def learning_rates(rates: Sequence[float], losses: Sequence[float], path: str | os.PathLike[str]) -> Path:
    """Plot the losses that `vector.find_lr` met at growing learning rates, and mark a tenth of the rate where the
    smoothed loss is least, which is a good one to train with.

    Raises ValueError when there are no rates, or not as many losses.
    """
    if not len(rates) or len(rates) != len(losses):
        raise ValueError(
            f"learning_rates: expected as many losses as rates, at least 1, got {len(losses)}, {len(rates)}"
        )
    width = max(1, len(losses) // 20)
    padded = np.pad(np.asarray(losses, float), (width, width), mode="edge")
    smooth = np.convolve(padded, np.ones(2 * width + 1) / (2 * width + 1), mode="valid")
    best = rates[int(smooth.argmin())] / 10.0
    figure = new_figure(6.4, 3.9, "Loss at growing learning rates")
    axes = figure.subplots()
    quiet_frame(axes)
    axes.plot(rates, losses, color=BLUE.fill, linewidth=1.0)
    axes.plot(rates, smooth, color=BLUE.border, linewidth=2.0)
    axes.axvline(best, color=ORANGE.border, linewidth=1.0)
    axes.annotate(
        f" {short_number(best)}",
        (best, 1.0),
        xycoords=("data", "axes fraction"),
        va="top",
        fontsize=9,
        color=ORANGE.ink,
    )
    axes.set_xscale("log")
    ticks = log_ticks(min(rates), max(rates))
    axes.set_xticks(ticks, [short_number(tick) for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.set_xlabel("learning rate", fontsize=9, color=QUIET)
    axes.set_title("loss", loc="left", fontsize=10, color=QUIET)
    return save(figure, path)


def profile(rows: Sequence[Any], path: str | os.PathLike[str], most: int = 24) -> Path:
    """Plot where the time of a recorded step goes, as bars by line in the order of the program.

    `rows` are those of `step.profile(...)`: each has a `text`, `seconds` and a `kind`, which gives the bar its colour.
    Of more than `most` lines the most expensive are shown and the others are added up. Raises ValueError for no rows.
    """
    if not rows or most < 1:
        raise ValueError(f"profile: expected at least one row, and most from 1, got {len(rows)} and {most}")
    shown = sorted(sorted(range(len(rows)), key=lambda i: -rows[i].seconds)[:most])
    others = [row for i, row in enumerate(rows) if i not in shown]
    bars = [(f"{i}  {_short(rows[i].text)}", rows[i].seconds, rows[i].kind) for i in shown]
    if others:
        bars.append((f"{len(others)} other lines", sum(row.seconds for row in others), ""))
    whole = sum(row.seconds for row in rows)
    sums = {kind: sum(row.seconds for row in rows if row.kind == kind) for kind in {row.kind for row in rows}}
    kinds = sorted(sums, key=lambda kind: -sums[kind])
    tints = dict(zip(kinds, (BLUE.border, ORANGE.border, QUIET), strict=False))
    figure = new_figure(11.0, 1.3 + 0.26 * len(bars), f"A step of {whole * 1e6:,.0f} microseconds, line by line")
    axes = figure.subplots()
    quiet_frame(axes)
    places = range(len(bars))
    axes.barh(places, [1e6 * seconds for _, seconds, _ in bars], color=[tints.get(kind, FAINT) for *_, kind in bars])
    axes.set_yticks(places, [text for text, *_ in bars], family="monospace", fontsize=8, color=INK, parse_math=False)
    axes.invert_yaxis()
    axes.set_xlabel("microseconds", fontsize=9, color=QUIET)
    for place, (_, seconds, _) in zip(places, bars, strict=True):
        text = f" {1e6 * seconds:,.1f}  {seconds / max(whole, 1e-12):.0%}"
        axes.annotate(text, (1e6 * seconds, place), va="center", fontsize=8, color=QUIET)
    for kind, tint in tints.items():
        axes.barh([0], [0], color=tint, label=kind)
    axes.legend(loc="lower right", frameon=False, fontsize=9)
    axes.margins(x=0.12, y=0.02)
    return save(figure, path)


def _short(text: str) -> str:
    """A line of code, cut where it is long."""
    return text if len(text) <= 64 else f"{text[:61]}..."


def _checked(
    what: str, images: Any, labels: Any, probabilities: Any, class_names: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return what `predictions` takes as arrays. Raises ValueError when they do not fit together."""
    images, labels, probabilities = np.asarray(images), np.asarray(labels), np.asarray(probabilities)
    n, expected = len(images), (len(images), len(class_names))
    if not n or labels.shape != (n,) or probabilities.shape != expected:
        raise ValueError(
            f"{what}: expected labels of shape {(n,)} and probabilities of shape {expected} for {n} images "
            f"and {len(class_names)} classes, got {labels.shape} and {probabilities.shape}"
        )
    _require_classes(what, labels, class_names)
    return images, labels, probabilities


def _require_classes(what: str, numbers: np.ndarray, class_names: Sequence[str]) -> None:
    """Raise ValueError unless the numbers are indices of `class_names` from 0; -1 is no name for the last class."""
    last = len(class_names) - 1
    if numbers.dtype.kind not in "iu" or not 0 <= numbers.min() <= numbers.max() <= last:
        came = str(numbers.dtype) if numbers.dtype.kind not in "iu" else f"{numbers.min()} to {numbers.max()}"
        hint = ": subtract 1 from numbers that count from 1" if came == f"1 to {last + 1}" else ""
        raise ValueError(f"{what}: expected class numbers from 0 to {last} for {last + 1} names, got {came}{hint}")


def _grid(
    images: np.ndarray,
    labels: np.ndarray,
    probabilities: np.ndarray,
    class_names: Sequence[str],
    title: str,
    path: str | os.PathLike[str],
) -> Path:
    n, predicted = len(images), probabilities.argmax(1)
    names, plain = legible(class_names)
    names = [shortened(name, 12) for name in names]
    columns = min(n, 8)
    rows = -(-n // columns)
    figure = new_figure(1.3 * columns, 1.62 * rows + 0.5, title)
    for axes, i in zip(figure.subplots(rows, columns, squeeze=False).flat, range(rows * columns), strict=True):
        axes.set_axis_off()
        if i == n:
            break
        axes.imshow(images[i], cmap="gray_r")
        says = f"{names[predicted[i]]} {probabilities[i, predicted[i]]:.0%}"
        if predicted[i] == labels[i]:
            axes.set_title(says, fontsize=8, color=INK, pad=4, **plain)
        else:
            axes.set_title(f"✗ {says}\nis {names[labels[i]]}", fontsize=8, color=ORANGE.ink, pad=4, **plain)
            axes.set_axis_on()
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set(color=ORANGE.border, linewidth=2)
    for axes in figure.axes[n:]:
        axes.set_axis_off()
    return save(figure, path)


def confusion(
    labels: np.ndarray, predicted: np.ndarray, class_names: Sequence[str], path: str | os.PathLike[str]
) -> Path:
    """Plot the confusion matrix in percent: true classes in rows, predicted ones in columns; right ones are blue.

    labels (n,) and predicted (n,) class numbers. Raises ValueError when their shapes differ, there
    are none, or a class has no name.
    """
    labels, predicted, k = np.asarray(labels), np.asarray(predicted), len(class_names)
    if not labels.size or labels.shape != predicted.shape:
        raise ValueError(
            f"confusion: expected as many predictions as labels, got shapes {labels.shape} and {predicted.shape}"
        )
    for numbers in (labels, predicted):
        _require_classes("confusion", numbers, class_names)
    counts = np.zeros((k, k), int)
    np.add.at(counts, (labels, predicted), 1)
    share = counts / np.maximum(1, counts.sum(1, keepdims=True))
    percent = np.floor(100 * share + 0.5).astype(int)
    right, diagonal = counts.trace(), np.eye(k, dtype=bool)

    names, plain = legible(class_names)
    names = [shortened(name, 24) for name in names]
    side = min(24.0, max(6.0, 0.24 * k))  # inches; numbers that had no room are left out
    title = f"Test images by class: {right:,} of {labels.size:,} right ({right / labels.size:.2%})"
    figure = new_figure(side + 0.05 * max(map(len, names)) + 0.8, side + 0.6, title)
    axes = figure.subplots()
    axes.imshow(np.where(diagonal, share, np.nan), cmap=shades(THEME.paper, BLUE.border), vmin=0, vmax=1.05)
    axes.imshow(np.where(diagonal, np.nan, np.sqrt(share)), cmap=shades(THEME.paper, ORANGE.border), vmin=0, vmax=0.8)
    for (row, column), part in np.ndenumerate(share) if k <= MOST else ():
        dark = part > (0.85 if row == column else 0.35)
        ink = THEME.paper if dark else INK if percent[row, column] else FAINT
        size = 9 if k <= 20 else 7
        text = str(percent[row, column] or ("·" if k <= 20 else ""))
        if text:
            axes.text(
                column, row, text, ha="center", va="center", fontsize=size, color=ink, in_layout=False, parse_math=False
            )
    quiet_frame(axes)
    axes.spines[:].set_visible(False)
    shown, turned = range(0, k, -(-k // MOST)), 40 if k <= 20 else 90
    axes.set_xticks(shown, names[:: shown.step], rotation=turned, ha="right", rotation_mode="anchor", **plain)
    if turned == 90:
        axes.tick_params(axis="x", pad=6)
        for label in axes.get_xticklabels():
            label.set_verticalalignment("center")
    axes.set_yticks(shown, names[:: shown.step], **plain)
    axes.tick_params(labelsize=9 if k <= 20 else 8, labelcolor=INK, length=0)
    axes.set_xlabel("taken for, in % of the class", fontsize=9, color=QUIET)
    axes.set_ylabel("what it is", fontsize=9, color=QUIET)
    return save(figure, path)


def weights(matrix: np.ndarray, path: str | os.PathLike[str]) -> Path:
    """Show the weights of each unit of a first layer as an image, blue where positive, orange where negative.

    Each image has its own scale: the strongest hundredth of its weights has full colour.

    matrix (side * side, units). Raises ValueError when a column makes no square image.
    """
    matrix = np.asarray(matrix)
    side = round(len(matrix) ** 0.5) if matrix.ndim == 2 else 0
    if not side or side * side != len(matrix) or not matrix.shape[1]:
        raise ValueError(f"weights: expected a matrix of shape (side * side, units), got {matrix.shape}")
    units = matrix.shape[1]
    columns = min(units, 16)
    rows = -(-units // columns)
    tiles = np.full((rows * columns, side + 3, side + 3), np.nan)  # a gap stands around each
    strongest = np.quantile(np.abs(matrix), 0.99, axis=0)
    tiles[:units, :side, :side] = (matrix / np.where(strongest > 0, strongest, 1.0)).T.reshape(units, side, side)
    mosaic = tiles.reshape(rows, columns, side + 3, side + 3).swapaxes(1, 2).reshape(rows * (side + 3), -1)
    figure = new_figure(0.62 * columns + 0.2, 0.62 * rows + 0.5, f"What {units} hidden units look for")
    axes = figure.subplots()
    axes.set_axis_off()
    axes.imshow(mosaic, cmap=shades(ORANGE.ink, ORANGE.fill, THEME.paper, BLUE.fill, BLUE.ink), vmin=-1, vmax=1)
    return save(figure, path)


def boundary(
    score: Callable[[np.ndarray], Any], points: np.ndarray, labels: np.ndarray, path: str | os.PathLike[str]
) -> Path:
    """Plot points of two classes in the plane, and the line on which `score`, from (m, 2) to (m,), is 0.

    points (n, 2); labels (n,), of which those above 0 are the class that `score` should find positive. Raises
    ValueError for points that are not in the plane.
    """
    points, above = np.asarray(points), np.asarray(labels) > 0
    if points.ndim != 2 or points.shape[1] != 2 or above.shape != points.shape[:1]:
        raise ValueError(
            f"boundary: expected points of shape (n, 2) and labels of shape (n,), got {points.shape} and {above.shape}"
        )
    (left, low), (right, high) = points.min(0) - 0.4, points.max(0) + 0.4
    x, y = np.meshgrid(np.linspace(left, right, 91), np.linspace(low, high, 61))
    heights = np.asarray(score(np.column_stack((x.ravel(), y.ravel())))).reshape(x.shape)
    wrong = np.count_nonzero((np.asarray(score(points)).ravel() > 0) != above)

    figure = new_figure(6.4, 4.3, f"Decision boundary: {len(points) - wrong:,} of {len(points):,} points right")
    axes = figure.subplots()
    quiet_frame(axes)
    reach = np.abs(heights).max() or 1.0
    tints = shades(ORANGE.fill, THEME.paper, BLUE.fill)
    axes.contourf(x, y, heights, levels=np.linspace(-reach, reach, 25), cmap=tints, alpha=0.9)
    if heights.min() < 0 < heights.max():
        axes.contour(x, y, heights, levels=[0.0], colors=[INK], linewidths=1.4)
    for which, tint, marker in ((above, BLUE, "o"), (~above, ORANGE, "s")):
        x, y = points[which].T
        axes.scatter(x, y, s=30, marker=marker, color=tint.border, edgecolor=THEME.paper, linewidth=0.8)
    axes.set_aspect("equal")
    return save(figure, path)
