"""The data sets that come in MNIST's format: MNIST itself, KMNIST, EMNIST, and any other folder of four IDX files.

MNIST: LeCun, Cortes and Burges, 1998. KMNIST, handwritten kana: Clanuwat et al., 2018. EMNIST, letters and digits,
whose images are stored with rows and columns exchanged: Cohen et al., 2017.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .download import File, Source, check_pairs, find, forms, load_arrays
from .fashion_mnist import SOURCE as FASHION
from .idx import read_idx

PARTS = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
MNIST = Source(
    title="MNIST",
    name="mnist",
    files=(
        File(PARTS[0], 47_040_016, "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"),
        File(PARTS[1], 60_008, "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
        File(PARTS[2], 7_840_016, "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),
        File(PARTS[3], 10_008, "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
    ),
    megabytes=11,
    mirrors=(
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
    ),
    debian_package="",
    debian_folder="",
    lookalikes={file.sha256: FASHION.title for file in FASHION.files}
    | {digest: title for digest, title in FASHION.lookalikes.items() if title != "MNIST"},
)
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
EMNIST_CLASSES = {
    "digits": "0123456789",
    "mnist": "0123456789",
    "letters": LETTERS,  # numbered from 1 in the files, from 0 here
    "balanced": "0123456789" + LETTERS + "abdefghnqrt",
    "bymerge": "0123456789" + LETTERS + "abdefghnqrt",
    "byclass": "0123456789" + LETTERS + LETTERS.lower(),
}
"""What the labels of each split of EMNIST mean, in order."""


class Images(NamedTuple):
    """Images of grey values, 0 the background, and their classes, numbered from 0."""

    train_images: np.ndarray  # uint8 (n, height, width)
    train_labels: np.ndarray  # uint8 (n,)
    test_images: np.ndarray
    test_labels: np.ndarray


def mnist(folder: str | os.PathLike[str] | None = None) -> Images:
    """Load the 60,000 training and 10,000 test images of handwritten digits, every byte verified by SHA-256.

    Looks in `folder`, or else in `$MNIST`; where one of them is given, only there. Otherwise looks in the user's cache
    folder, and at last fetches the files (11 MB) into it. Raises as `fashion_mnist` does.
    """
    return find(MNIST, lambda place: Images(*load_arrays(MNIST, place)), folder)


def kmnist(folder: str | os.PathLike[str]) -> Images:
    """Load KMNIST, or any data set of four files with the names of MNIST's, from `folder`: gzipped or not.

    Raises FileNotFoundError naming the missing file, ValueError for a broken one and for labels that are not as many as
    the images.
    """
    return from_files([find_file(Path(folder), name) for name in PARTS])


def emnist(folder: str | os.PathLike[str], split: str = "balanced") -> Images:
    """Load a split of EMNIST from `folder`: balanced, letters, digits, byclass, bymerge or mnist. The images are turned
    upright; letters are numbered from 0. `EMNIST_CLASSES[split]` names the classes. Raises as `kmnist` does."""
    if split not in EMNIST_CLASSES:
        raise ValueError(f"emnist: expected a split out of {', '.join(EMNIST_CLASSES)}, got {split!r}")
    names = [f"emnist-{split}-{part.replace('t10k', 'test')}" for part in PARTS]
    data = from_files([find_file(Path(folder), name) for name in names])
    first = int(split == "letters")
    upright = [np.ascontiguousarray(images.transpose(0, 2, 1)) for images in (data.train_images, data.test_images)]
    return Images(upright[0], data.train_labels - first, upright[1], data.test_labels - first)


def find_file(folder: Path, name: str) -> Path:
    """The file of that name, in whatever form it is there."""
    names = forms(name)
    for found in names:
        if (folder / found).is_file():
            return folder / found
    raise FileNotFoundError(f"{folder}: expected {', '.join(names[:-1])} or {names[-1]} in this folder, found none")


def from_files(paths: list[Path]) -> Images:
    """The data in four IDX files."""
    data = Images(*map(read_idx, paths))
    check_pairs(data, paths)
    for images, path in zip(data[::2], paths[::2], strict=True):
        if images.ndim != 3:
            raise ValueError(f"{path}: expected images (n, height, width), got shape {images.shape}")
    return data
