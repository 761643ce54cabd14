"""A photograph of one piece of clothing made into an image like those of Fashion-MNIST.

The makers of the data set trimmed their pictures to where they differ from the ground, by more than 5 % of white, made
the longer side 28 pixels, put that in the middle of a square and inverted it: light clothes on a black ground. Here the
ground may be of any grey, and a light that falls off to one side is allowed for: it is a plane through the picture's
rim. Pillow reads the files; it comes with matplotlib: pip install 'twograd[see]'.

    read_image("shoe.jpg")   ->   (28, 28) float32, from 0, the ground, to 1
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE = 28
MOST = 25_000_000  # pixels: what telephones take; some kB of PNG can hold any number of them
WORKING = 256  # pixels of the longer side that the object is looked for in
STRIP = 128  # rows that are made grey at a time
DIFFERENT = 0.05  # of white: what differs from the ground by more is no ground
ONE_SIDE = 0.05  # of the object's difference from the ground: a part that may be noise
ORIENTATION = 0x0112  # in EXIF; how the camera was held
UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {  # from how the picture is stored; 1 is upright
    2: np.fliplr,
    3: lambda image: np.rot90(image, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda image: np.rot90(image, -1),
    7: lambda image: np.rot90(image, 2).T,
    8: np.rot90,
}


def read_image(path: str, invert: bool | None = None) -> np.ndarray:
    """Read a PNG or JPEG file as the model wants it: (28, 28), float32 from 0, the ground, to 1.

    Raises ValueError, naming the file, where it is neither, or too large.
    """
    try:
        from PIL import Image
    except ModuleNotFoundError as problem:
        raise ValueError(f"{path}: reading an image needs Pillow; pip install 'twograd[see]'") from problem
    if not Path(path).is_file():
        raise ValueError(f"{path}: expected an image file or the number of a test image, found no such file")
    try:
        with Image.open(path, formats=("PNG", "JPEG")) as picture:  # reads the header only
            if picture.width * picture.height > MOST:
                raise ValueError("{:,} x {:,}".format(*picture.size))
            grey = small(picture, bits_of_png(path) if picture.format == "PNG" else 8)
            grey = UPRIGHT.get(picture.getexif().get(ORIENTATION, 1), np.asarray)(grey)
    except Exception as problem:
        wanted = f"a PNG or JPEG file of up to {MOST:,} pixels"
        raise ValueError(f"{path}: expected {wanted}, got something else ({problem})") from problem
    return prepare(grey, invert).astype(np.float32)


# --- the file ---------------------------------------------------------------------------------------------------------


def bits_of_png(path: str) -> int:
    """Return the bits of a channel. Pillow does not say."""
    with open(path, "rb") as file:
        return file.read(25)[24]


def small(picture: Image, bits: int) -> np.ndarray:
    """Return the picture's grey values as `on_white` gives them, with a longer side of at most WORKING."""
    width, height = picture.size
    scale = min(1.0, WORKING / max(width, height))
    rows, columns = (max(1, round(scale * n)) for n in (height, width))
    down, right = shares(height, rows), shares(width, columns).T
    out = np.zeros((rows, columns))
    for top in range(0, height, STRIP):
        strip = picture.crop((0, top, width, min(top + STRIP, height)))
        grey = on_white(strip, bits)
        out += down[:, top : top + STRIP] @ (grey if columns == width else grey @ right)
    return out


def on_white(picture: Image, bits: int) -> np.ndarray:
    """Return the picture's grey values from 0 to 1 on a white ground, (height, width), float64.

    Raises ValueError for colours of 16 bits one of which is transparent: Pillow keeps 8 bits, which do not tell it from
    its neighbours.
    """
    clear = picture.info.get("transparency")
    if picture.mode in ("1", "L") or picture.mode.startswith("I"):  # grey of 1, of up to 8, of 16 bits
        values, white = np.asarray(picture), {"1": 1, "L": 255, "I": 65535}[picture.mode[0]]
        if clear is None:
            return values / white
        most = 2**bits - 1  # Pillow gives 2 and 4 bits as 8, but not the transparent grey
        return np.where(values == (clear & most) * (white // most), 1.0, values / white)
    if bits == 16 and clear is not None:
        raise ValueError("colours of 16 bits, one of them transparent")
    red, green, blue, opacity = np.moveaxis(np.asarray(picture.convert("RGBA")), -1, 0)
    grey = (0.299 * red + 0.587 * green + 0.114 * blue) / 255
    opacity = opacity / 255
    return grey * opacity + (1.0 - opacity)


# --- the object in it -------------------------------------------------------------------------------------------------


def prepare(grey: np.ndarray, invert: bool | None = None) -> np.ndarray:
    """Return an upright picture of grey values from 0 to 1, (height, width), as the data set's makers would have.

    What is 28 x 28 is taken to be an image of theirs, and at most inverted. `invert` says whether the object is darker
    than its ground; None: see `bring_to_black`.
    """
    if grey.shape == (SIDE, SIDE):
        rim = np.concatenate((grey[0], grey[-1], grey[:, 0], grey[:, -1])).mean()
        return 1.0 - grey if (rim > 0.5 if invert is None else invert) else grey
    value, found = bring_to_black(grey, invert)
    return framed(trimmed(value, found))


def bring_to_black(grey: np.ndarray, invert: bool | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return the picture with its ground at 0, from 0 to 1, and where it differs from the ground: two (height, width).

    A picture whose object is darker than its ground all over is inverted, and one whose object is lighter is not; where
    parts are darker and others lighter, a ground of more than middle grey decides.
    """
    ground, noise = ground_of(grey)
    difference = grey - ground
    unsure = max(DIFFERENT * np.abs(difference).max(), noise)
    found = np.abs(difference) > unsure
    lighter = np.maximum(difference - unsure, 0.0).sum()
    darker = np.maximum(-difference - unsure, 0.0).sum()
    one_side = min(lighter, darker) <= ONE_SIDE * max(lighter, darker)
    if invert is None:
        invert = darker > lighter if one_side and darker != lighter else bool(np.median(ground) > 0.5)
    if invert:
        grey, ground, difference = 1.0 - grey, 1.0 - ground, -difference
    if one_side and found.any() and (lighter > darker) == (not invert):
        black = ground
    else:  # the object is not lighter than its ground all over: its own darkest part is black
        black = np.minimum(ground, np.percentile(grey[found], 1) if found.any() else 1.0)
        grey = np.where(outside(~found), black, grey)
    return np.clip((grey - black) / np.maximum(1.0 - black, DIFFERENT), 0.0, 1.0), found


def ground_of(grey: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the ground's grey at each place, (height, width), and the difference from it that may be noise.

    It is the plane through those pixels of the rim that are near the rim's commonest grey, and then near that plane.
    """
    height, width = grey.shape
    y, x = np.mgrid[-1.0 : 1.0 : height * 1j, -1.0 : 1.0 : width * 1j]
    edge = max(1, round(0.02 * min(height, width)))
    rim = np.ones(grey.shape, bool)
    rim[edge:-edge, edge:-edge] = False
    level, at = grey[rim], np.stack((np.ones(rim.sum()), y[rim], x[rim]), axis=1)
    ordered = np.sort(level)
    crowd = np.searchsorted(ordered, ordered + 2 * DIFFERENT, side="right") - np.arange(len(ordered))
    first = crowd.argmax()
    near = np.abs(level - np.median(ordered[first : first + crowd[first]])) <= 2 * DIFFERENT
    for _ in range(3):
        plane = np.linalg.lstsq(at[near], level[near], rcond=None)[0]
        apart = np.abs(level - at @ plane)
        if (apart <= 2 * DIFFERENT).sum() < near.sum() / 2:
            break
        near = apart <= 2 * DIFFERENT
    return np.clip(plane[0] + plane[1] * y + plane[2] * x, 0.0, 1.0), 4.0 * float(np.sqrt(np.mean(apart[near] ** 2)))


def outside(ground: np.ndarray) -> np.ndarray:
    """Return where one comes to from the rim by way of ground alone."""
    reached = np.pad(np.zeros(ground.shape, bool), 1, constant_values=True)
    open_ = np.pad(ground, 1, constant_values=True)
    while True:
        spread = reached.copy()
        spread[1:] |= reached[:-1]
        spread[:-1] |= reached[1:]
        spread[:, 1:] |= reached[:, :-1]
        spread[:, :-1] |= reached[:, 1:]
        spread &= open_
        if (spread == reached).all():
            return reached[1:-1, 1:-1]
        reached = spread


def trimmed(value: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Return the part of the picture that holds what was found; a speck is nothing. The whole, if nothing was."""
    box = []
    for axis in (1, 0):
        n = np.flatnonzero(found.sum(axis) >= max(1.0, found.shape[axis] / (2 * SIDE)))
        if not len(n):
            return value
        box.append(slice(n[0], n[-1] + 1))
    return value[tuple(box)]


def framed(image: np.ndarray) -> np.ndarray:
    """Put the image in the middle of a black square of its longer side, and scale that to 28 x 28."""
    side = max(image.shape)
    down, right = (shares(side, SIDE)[:, (side - n) // 2 :][:, :n] for n in image.shape)
    return np.clip(down @ image @ right.T, 0.0, 1.0)  # rounding may go past an end


def shares(old: int, new: int) -> np.ndarray:
    """Return the share of each old pixel in each new one, (new, old); a new one is the mean of the part it covers."""
    edges = np.linspace(0.0, old, new + 1)
    pixels = np.arange(old)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return np.maximum(overlap, 0.0) * (new / old)
