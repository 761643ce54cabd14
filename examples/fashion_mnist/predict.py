"""Print the class probabilities that a trained model gives for image files, or for test images by number.

    python examples/fashion_mnist/predict.py runs/fashion-mnist/model.npz 0 17 shoe.png

A PNG or JPEG file of up to 2,048 x 2,048 pixels is turned upright, made grey, square and 28 x 28. The data set shows
light clothes on a black ground: an image whose rim is lighter than middle grey is inverted (--invert and --no-invert
overrule that), and transparent pixels count as white. Pillow reads the files; it comes with matplotlib:
pip install 'twograd[see]'.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from train import load_data, network

import vector
from vector import nn
from vector.datasets import CLASS_NAMES, FashionMNIST
from viz.console import run, say

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE = 28
LONGEST = 2048  # pixels a side: some kB of PNG can hold any number of them, and each takes 40 bytes here
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


def load_model(path: str) -> nn.Sequential:
    model = network()
    model.load(path)
    return model


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
            if max(picture.size) > LONGEST:
                raise ValueError("{:,} x {:,}".format(*picture.size))
            grey = on_white(picture, bits_of_png(path) if picture.format == "PNG" else 8)
            grey = UPRIGHT.get(picture.getexif().get(ORIENTATION, 1), np.asarray)(grey)
    except Exception as problem:
        wanted = f"a PNG or JPEG file of up to {LONGEST:,} pixels a side"
        raise ValueError(f"{path}: expected {wanted}, got something else ({problem})") from problem
    rim = np.concatenate((grey[0], grey[-1], grey[:, 0], grey[:, -1])).mean()
    if rim > 0.5 if invert is None else invert:
        grey, rim = 1.0 - grey, 1.0 - rim
    return np.clip(framed(grey, rim), 0.0, 1.0).astype(np.float32)  # rounding may go past an end


def bits_of_png(path: str) -> int:
    """Return the bits of a channel. Pillow does not say."""
    with open(path, "rb") as file:
        return file.read(25)[24]


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


def framed(image: np.ndarray, fill: float) -> np.ndarray:
    """Put the image in the middle of a filled square of its longer side, and scale that to 28 x 28."""
    side = max(image.shape)
    down, right = (shares(side)[:, (side - n) // 2 :][:, :n] for n in image.shape)
    return fill + down @ (image - fill) @ right.T


def shares(side: int) -> np.ndarray:
    """Return the share of each old pixel in each new one, (28, side); a new one is the mean of the area it covers."""
    edges = np.linspace(0.0, side, SIDE + 1)
    pixels = np.arange(side)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return np.maximum(overlap, 0.0) * (SIDE / side)


def load_images(source: str | None) -> FashionMNIST:
    """Load the data set that test images are taken from by number."""
    try:
        return load_data(source)
    except FileNotFoundError as problem:
        raise FileNotFoundError(f"{problem}\nThe images that ship with the package: --data sample") from problem


def is_number(text: str) -> bool:
    return text.lstrip("-").isdecimal()


def main(args: argparse.Namespace) -> None:
    model = load_model(args.model)
    data = load_images(args.data) if any(map(is_number, args.images)) else None
    images, names = [], []
    for text in args.images:
        if data is not None and is_number(text):
            if not 0 <= int(text) < len(data.test_images):
                raise ValueError(f"test image {text}: expected a number from 0 to {len(data.test_images) - 1}")
            images.append(data.test_images[int(text)] / np.float32(255))
            names.append(f"test image {text}, {CLASS_NAMES[data.test_labels[int(text)]]}")
        else:
            images.append(read_image(text, args.invert))
            names.append(text)
    block = block_character()
    for name, row in zip(names, vector.softmax(model.predict(np.stack(images)), axis=-1), strict=True):
        say(name)
        for k in np.argsort(-row, kind="stable"):
            say(f"  {CLASS_NAMES[k]:<12}{row[k]:>7.1%}  {block * round(30 * row[k])}".rstrip())


def block_character() -> str:
    """Return what the bars are made of, in an encoding that may lack the block."""
    try:
        "█".encode(getattr(sys.stdout, "encoding", "ascii"))  # there may be no output
    except UnicodeEncodeError:
        return "#"
    return "█"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="\n".join(__doc__.splitlines()[0:1] + __doc__.splitlines()[3:]),
    )
    add = parser.add_argument
    add("model", metavar="MODEL", help="the model.npz that train.py wrote")
    add("images", metavar="IMAGE", nargs="+", help="a PNG or JPEG file, or the number of a test image from 0")
    add("--data", metavar="FOLDER", help="where the data set is, as for train.py; 'sample' for the shipped images")
    add("--invert", action=argparse.BooleanOptionalAction, help="whether files are dark on light (seen by the rim)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(run("predict.py", lambda: main(parse())))
