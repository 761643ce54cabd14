"""What a trained model says to images: class probabilities for PNG files, or for test images by number.

    python examples/fashion_mnist/predict.py runs/fashion-mnist/model.npz 0 17 shoe.png

A PNG of up to 2,048 x 2,048 pixels is made grey, square and 28 x 28. The data set shows light clothes on a black
ground: an image whose rim is lighter than middle grey is inverted (--invert and --no-invert overrule that), and what is
transparent counts as white. PNG files are read by Pillow, which comes with matplotlib: pip install 'twograd[see]'.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from train import load_data, network

import vector
from vector import nn
from vector.datasets import CLASS_NAMES

if TYPE_CHECKING:
    from PIL.PngImagePlugin import PngImageFile

SIDE = 28
LONGEST = 2048  # pixels a side: some kB of PNG can hold any number of them, and each takes 40 bytes here


def load_model(path: str) -> nn.Sequential:
    model = network()
    model.load(path)
    return model


def read_image(path: str, invert: bool | None = None) -> np.ndarray:
    """A PNG file as the model wants it: (28, 28), float32 from 0, the ground, to 1.

    Raises ValueError, naming the file, where it is no PNG, or one too large.
    """
    try:
        from PIL.PngImagePlugin import PngImageFile
    except ModuleNotFoundError as problem:
        raise ValueError(f"{path}: reading a PNG needs Pillow; pip install 'twograd[see]'") from problem
    if not Path(path).is_file():
        raise ValueError(f"{path}: expected a PNG file or the number of a test image, found no such file")
    try:
        with PngImageFile(path) as picture:  # reads the header only
            if max(picture.size) > LONGEST:
                raise ValueError("{:,} x {:,}".format(*picture.size))
            grey = on_white(picture)
    except Exception as problem:
        wanted = f"a PNG file of up to {LONGEST:,} pixels a side"
        raise ValueError(f"{path}: expected {wanted}, got something else ({problem})") from problem
    rim = np.concatenate((grey[0], grey[-1], grey[:, 0], grey[:, -1])).mean()
    if rim > 0.5 if invert is None else invert:
        grey, rim = 1.0 - grey, 1.0 - rim
    return np.clip(framed(grey, rim), 0.0, 1.0).astype(np.float32)  # rounding may go past an end


def on_white(picture: PngImageFile) -> np.ndarray:
    """The picture's grey values from 0 to 1 on a white ground, (height, width), float64."""
    if picture.mode.startswith("I"):  # grey of 16 bits
        return np.asarray(picture) / 65535
    red, green, blue, opacity = np.moveaxis(np.asarray(picture.convert("RGBA")), -1, 0)
    grey = (0.299 * red + 0.587 * green + 0.114 * blue) / 255
    opacity = opacity / 255
    return grey * opacity + (1.0 - opacity)


def framed(image: np.ndarray, fill: float) -> np.ndarray:
    """The image in the middle of a filled square of its longer side, as 28 x 28; 28 x 28 stays as it is."""
    side = max(image.shape)
    down, right = (shares(side)[:, (side - n) // 2 :][:, :n] for n in image.shape)
    return fill + down @ (image - fill) @ right.T


def shares(side: int) -> np.ndarray:
    """(28, side): of each old pixel in each new one, where a new one is the mean of the area it covers."""
    edges = np.linspace(0.0, side, SIDE + 1)
    pixels = np.arange(side)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return np.maximum(overlap, 0.0) * (SIDE / side)


def is_number(text: str) -> bool:
    return text.lstrip("-").isdecimal()


def main(args: argparse.Namespace) -> None:
    model = load_model(args.model)
    data = load_data(args.data) if any(map(is_number, args.images)) else None
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
    for name, row in zip(names, vector.softmax(model.predict(np.stack(images)), axis=-1), strict=True):
        print(name)
        for k in np.argsort(-row, kind="stable"):
            print(f"  {CLASS_NAMES[k]:<12}{row[k]:>7.1%}  {'█' * round(30 * row[k])}".rstrip())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="\n".join(__doc__.splitlines()[0:1] + __doc__.splitlines()[3:]),
    )
    add = parser.add_argument
    add("model", metavar="MODEL", help="the model.npz that train.py wrote")
    add("images", metavar="IMAGE", nargs="+", help="a PNG file, or the number of a test image from 0")
    add("--data", metavar="FOLDER", help="where the data set is, as for train.py; 'sample' for the shipped images")
    add("--invert", action=argparse.BooleanOptionalAction, help="whether PNG files are dark on light (seen by the rim)")
    try:
        main(parser.parse_args())
    except (OSError, ValueError) as problem:
        sys.exit(f"predict.py: {problem}")
