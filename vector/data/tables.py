"""Data of one's own: a folder of pictures, and a table of numbers."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif")


class Pictures(NamedTuple):
    """Pictures of one size, and their classes."""

    images: np.ndarray  # uint8 (n, height, width), or (n, height, width, 3) in colour
    labels: np.ndarray  # int64 (n,), each an index of `names`
    names: tuple[str, ...]
    paths: tuple[Path, ...]


def picture_folder(
    folder: str | os.PathLike[str], size: tuple[int, int] | None = None, colour: bool = False
) -> Pictures:
    """Load a folder with a folder of pictures for each class, in order of names: grey, or with `colour` red, green and
    blue. Each is brought to `size`, (height, width), or must have that of the first.

    Needs pillow. Raises FileNotFoundError where there are none, ValueError naming a file that is no picture, or has
    another size.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    root = Path(folder)
    names = sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    found = [(i, path) for i, name in enumerate(names) for path in sorted((root / name).iterdir())]
    found = [(i, path) for i, path in found if path.suffix.lower() in PICTURES]
    if not found:
        ends = ", ".join(PICTURES)
        raise FileNotFoundError(f"{root}: expected folders of pictures ({ends}), one for each class, found none")
    images: list[np.ndarray] = []
    for _, path in found:
        try:
            with Image.open(path) as picture:
                upright = ImageOps.exif_transpose(picture).convert("RGB" if colour else "L")
        except (UnidentifiedImageError, OSError) as problem:
            raise ValueError(f"{path}: expected a picture, got a file that cannot be read: {problem}") from problem
        upright = upright if size is None else upright.resize((size[1], size[0]))
        images.append(np.asarray(upright))
        if images[-1].shape != images[0].shape:
            height, width = images[0].shape[:2]
            came = " x ".join(map(str, images[-1].shape[:2]))
            raise ValueError(
                f"{path}: expected {height} x {width} pixels like the first picture, got {came}; pass size="
            )
    return Pictures(np.stack(images), np.array([i for i, _ in found]), tuple(names), tuple(path for _, path in found))


class Table(NamedTuple):
    """The columns of a table."""

    features: np.ndarray  # float64 (n, columns)
    targets: np.ndarray  # float64 (n,) or (n, targets), or int64 (n,), each an index of `classes`
    names: tuple[str, ...]  # of the features
    classes: tuple[str, ...]  # what the target's texts are, sorted; () for numbers


def table(
    path: str | os.PathLike[str],
    target: str | int | Sequence[str | int] = -1,
    header: bool = True,
    delimiter: str = ",",
) -> Table:
    """Load a CSV file. `target` is the column to predict, by name or number, or several; all others are features, and
    numbers. A single target that is not all numbers is taken for classes.

    Raises ValueError naming file, line and column of what is no number, of a row that is too short or long, and of a
    column that is not there.
    """
    with open(path, newline="", encoding="utf-8-sig") as file:
        rows = [(i, row) for i, row in enumerate(csv.reader(file, delimiter=delimiter), start=1) if row]
    names = rows.pop(0)[1] if header and rows else [f"column {i}" for i in range(len(rows[0][1]) if rows else 0)]
    if not rows:
        raise ValueError(f"{os.fspath(path)}: expected at least one row of numbers, got none")
    for line, row in rows:
        if len(row) != len(names):
            raise ValueError(f"{os.fspath(path)}, line {line}: expected {len(names)} columns, got {len(row)}")
    wanted = [target] if isinstance(target, (str, int)) else list(target)
    places = [place_of(name, names, path) for name in wanted]

    def number(line: int, row: list[str], i: int) -> float:
        try:
            return float(row[i])
        except ValueError:
            where = f"{os.fspath(path)}, line {line}, {names[i]}"
            raise ValueError(f"{where}: expected a number, got {row[i]!r}") from None

    others = [i for i in range(len(names)) if i not in places]
    features = np.array([[number(line, row, i) for i in others] for line, row in rows]).reshape(len(rows), len(others))
    kept = tuple(names[i] for i in others)
    texts = [row[places[0]] for _, row in rows]
    if len(places) == 1 and not all(map(is_number, texts)):
        classes = sorted({*texts})
        return Table(features, np.array([classes.index(text) for text in texts]), kept, tuple(classes))
    targets = np.array([[number(line, row, i) for i in places] for line, row in rows])
    single = isinstance(target, (str, int))
    return Table(features, targets[:, 0] if single else targets, kept, ())


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def place_of(name: str | int, names: list[str], path: str | os.PathLike[str]) -> int:
    """The number of a column, counted from the front."""
    if isinstance(name, str) and name in names:
        return names.index(name)
    if isinstance(name, int) and -len(names) <= name < len(names):
        return name % len(names)
    raise ValueError(f"{os.fspath(path)}: expected a target column out of {', '.join(names)}, got {name!r}")
