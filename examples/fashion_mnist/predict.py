"""Print the class probabilities that a trained model gives for image files, or for test images by number.

    python examples/fashion_mnist/predict.py runs/fashion-mnist/model.npz 0 17 shoe.png

A PNG or JPEG file of up to 25,000,000 pixels is turned upright and made like the data set's images: grey, trimmed to
the object, which comes to the middle of 28 x 28 pixels, light on a black ground. An object that is darker than its
ground is inverted; one with darker and lighter parts is, where the ground is lighter than middle grey (--invert and
--no-invert overrule that). Transparent pixels count as white. A file of 28 x 28 pixels is taken to be like the data
set's already, and inverted where its rim is light. What the model sees is shown beside its answer. Pillow reads the
files; it comes with matplotlib: pip install 'twograd[see]'.
"""

from __future__ import annotations

import argparse
import io
import sys
from itertools import zip_longest
from pathlib import Path

import numpy as np
from networks import load_model
from photograph import read_image
from train import load_data

import vector
from vector import files
from vector.datasets import CLASS_NAMES, FashionMNIST
from viz.console import run, say

LARGER = 8  # times, in the file of --show


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
    if args.show:
        show(images, args.show)
    tones = tones_of_output()
    for name, image, row in zip(names, images, vector.softmax(model.predict(np.stack(images)), axis=-1), strict=True):
        say(name)
        answers = [
            f"{CLASS_NAMES[k]:<12}{row[k]:>7.1%}  {tones[-1] * round(30 * row[k])}".rstrip()
            for k in np.argsort(-row, kind="stable")
        ]
        for seen, answer in zip_longest(drawn(image, tones), answers, fillvalue=""):
            say(f"  {seen}  {answer}".rstrip())


def tones_of_output() -> str:
    """Return characters from dark to light on a dark screen, in an encoding that may lack the blocks."""
    blocks = " ░▒▓█"
    try:
        blocks.encode(getattr(sys.stdout, "encoding", "ascii"))  # there may be no output
    except UnicodeEncodeError:
        return " .+*#"
    return blocks


def drawn(image: np.ndarray, tones: str) -> list[str]:
    """Return the image in 14 lines of characters, which are twice as high as wide."""
    level = np.round((len(tones) - 1) * (image[::2] + image[1::2]) / 2).astype(int)
    return ["".join(tones[k] for k in line) for line in level]


def show(images: list[np.ndarray], path: Path) -> None:
    """Write what the model sees, side by side and larger, as a PNG."""
    from PIL import Image

    line = np.concatenate([np.pad(image, 1, constant_values=0.5) for image in images], axis=1)
    pixels = np.round(255 * line).astype(np.uint8).repeat(LARGER, 0).repeat(LARGER, 1)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    files.write(path, file.getvalue())


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="\n".join(__doc__.splitlines()[0:1] + __doc__.splitlines()[3:]),
    )
    add = parser.add_argument
    add("model", metavar="MODEL", help="the model.npz that train.py wrote")
    add("images", metavar="IMAGE", nargs="+", help="a PNG or JPEG file, or the number of a test image from 0")
    add("--data", metavar="FOLDER", help="where the data set is, as for train.py; 'sample' for the shipped images")
    add("--invert", action=argparse.BooleanOptionalAction, help="whether files are dark on light (seen in the file)")
    add("--show", type=Path, metavar="FILE", help="write what the model sees as a PNG, too")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(run("predict.py", lambda: main(parse())))
