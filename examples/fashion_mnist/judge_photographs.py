"""Photograph test images in many ways, and print how often a model is right about the photographs.

    python examples/fashion_mnist/judge_photographs.py runs/fashion-mnist/model.npz

A photograph is a file as a camera might write it: the image enlarged, with a margin round it, on a ground of some grey,
with noise, in uneven light, turned with the EXIF note that says so, as PNG or JPEG. predict.py's reader reads it back.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from networks import load_model
from photograph import SIDE, read_image
from PIL import Image
from predict import load_images

from viz.console import run, say


class Photograph(NamedTuple):
    """How a photograph is taken.

    larger   how many times larger than the image
    margin   round the image, in parts of its side
    ground   its grey, of 255
    darker   whether the object is darker than the ground, or lighter
    mixed    whether the object keeps its own greys, some of them lighter than the ground and some darker
    smooth   whether pixels are interpolated, or repeated
    turned   by EXIF's number
    """

    larger: float = 4
    margin: float = 0.25
    ground: int = 255
    darker: bool = True
    mixed: bool = False
    smooth: bool = True
    noise: float = 0.0
    slope: float = 0.0
    quality: int | None = None
    turned: int = 1


KINDS = {
    "white ground, no margin": Photograph(margin=0),
    "white ground": Photograph(),
    "white ground, pixels repeated": Photograph(smooth=False),
    "white ground, a wide margin, large": Photograph(larger=12, margin=1),
    "black ground": Photograph(ground=0, darker=False),
    "grey 200, object darker": Photograph(ground=200),
    "grey 160, object darker": Photograph(ground=160),
    "grey 160, object lighter": Photograph(ground=160, darker=False),
    "grey 160, object of both": Photograph(ground=160, mixed=True, smooth=False),
    "grey 100, object darker": Photograph(ground=100),
    "grey 60, object lighter": Photograph(ground=60, darker=False),
    "grey 60, object of both": Photograph(ground=60, darker=False, mixed=True, smooth=False),
    "grey 160, noise of 3 %": Photograph(larger=6, ground=160, noise=0.03),
    "grey 200, uneven light": Photograph(larger=6, ground=200, slope=0.12),
    "white ground, JPEG": Photograph(larger=6, quality=90),
    "grey 160, JPEG": Photograph(larger=6, ground=160, quality=75),
    "grey 60, JPEG": Photograph(larger=6, ground=60, darker=False, quality=75),
    "grey 160, JPEG, turned a quarter": Photograph(larger=6, ground=160, quality=75, turned=6),
    "white ground, turned upside down": Photograph(turned=3),
    "grey 160, turned and mirrored": Photograph(ground=160, turned=7),
}
STORED = {1: None, 3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE}


def take(image: np.ndarray, kind: Photograph, path: Path, rng: np.random.Generator) -> None:
    """Write the photograph of an image (28, 28) of uint8."""
    side = round(kind.larger * SIDE)
    edge = round(kind.margin * side)
    how = Image.Resampling.BICUBIC if kind.smooth else Image.Resampling.NEAREST
    large = np.asarray(Image.fromarray(image).resize((side, side), how))
    value = np.pad(large, edge) / 255
    ground = kind.ground / 255
    if kind.mixed:
        grey = np.where(value > 0, 1 - value if kind.darker else value, ground)
    else:
        grey = ground * (1 - value) if kind.darker else ground + (1 - ground) * value
    grey = grey * (1 - kind.slope * np.linspace(0, 1, len(grey))) + rng.normal(0, kind.noise, grey.shape)
    picture = Image.fromarray(np.round(255 * np.clip(grey, 0, 1)).astype(np.uint8))
    turn = STORED[kind.turned]
    exif = Image.Exif()
    exif[0x0112] = kind.turned
    picture = picture if turn is None else picture.transpose(turn)
    if kind.quality is None:
        picture.save(path, "PNG", exif=exif)
    else:
        picture.convert("RGB").save(path, "JPEG", exif=exif, quality=kind.quality)


def main(args: argparse.Namespace) -> None:
    model, data = load_model(args.model), load_images(args.data)
    images, labels = data.test_images[: args.images], data.test_labels[: args.images]

    def accuracy(seen: np.ndarray) -> float:
        return float(np.mean(model.predict(seen).argmax(axis=1) == labels))

    clean = accuracy(images)
    say(f"{f'the {len(images):,} test images themselves':<40}{clean:.4f}")
    worst = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for name, kind in KINDS.items():
            rng, path = np.random.default_rng(0), Path(folder) / "photograph"
            seen = []
            for image in images:
                take(image, kind, path, rng)
                seen.append(read_image(str(path)))
            found = accuracy(np.stack(seen))
            worst = min(worst, found - clean)
            say(f"{name:<40}{found:.4f}  {found - clean:+.4f}")
    say(f"largest loss: {-worst:.4f}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="\n".join(__doc__.splitlines()[:1]))
    parser.add_argument("model", metavar="MODEL", help="the model.npz that train.py wrote")
    parser.add_argument("--data", metavar="FOLDER", help="where the data set is, as for train.py")
    parser.add_argument("--images", type=int, default=2000, help="how many test images to photograph (%(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(run("judge_photographs.py", lambda: main(parse())))
