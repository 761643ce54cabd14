"""Fashion-MNIST, and a sample of it that ships with the package.

>>> train_images, train_labels, test_images, test_labels = fashion_mnist_sample()
>>> train_images.shape, train_images.dtype
((800, 28, 28), dtype('uint8'))
>>> CLASS_NAMES[train_labels[0]]
'Ankle boot'

The data set: Xiao, Rasul and Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine
Learning Algorithms", 2017.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .download import File, Source, find, load_arrays

CLASS_NAMES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
"""What the labels 0 to 9 mean."""
SOURCE = Source(
    title="Fashion-MNIST",
    name="fashion_mnist",
    files=(  # in the order of FashionMNIST's fields
        File("train-images-idx3-ubyte", 47_040_016,
             "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"),
        File("train-labels-idx1-ubyte", 60_008,
             "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"),
        File("t10k-images-idx3-ubyte", 7_840_016,
             "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"),
        File("t10k-labels-idx1-ubyte", 10_008,
             "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"),
    ),
    megabytes=30,
    mirrors=(  # the data set's own repository, its authors' storage, TensorFlow's copy
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
    ),
    debian_package="dataset-fashion-mnist",
    debian_folder="usr/share/datasets/fashion-mnist",
    lookalikes={
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db": "MNIST",  # gunzipped
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5": "MNIST",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7": "MNIST",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2": "MNIST",
        "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4": "KMNIST",  # gzipped, as published
        "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17": "KMNIST",
        "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5": "KMNIST",
        "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c": "KMNIST",
    },
)  # fmt: skip


class FashionMNIST(NamedTuple):
    """Images of 28 x 28 grey values, 0 the background, and their classes, each an index of CLASS_NAMES."""

    train_images: np.ndarray  # uint8 (60000, 28, 28)
    train_labels: np.ndarray  # uint8 (60000,)
    test_images: np.ndarray  # uint8 (10000, 28, 28)
    test_labels: np.ndarray  # uint8 (10000,)


def fashion_mnist(folder: str | os.PathLike[str] | None = None) -> FashionMNIST:
    """Load the 60,000 training and 10,000 test images, every byte verified by SHA-256.

    Looks in `folder`, or else in `$FASHION_MNIST`; where one of them is given, only there. Otherwise looks in
    the user's cache folder, then in /usr/share/datasets/fashion-mnist, and at last fetches the files (30 MB)
    into the cache: from a mirror or, with none in reach, out of the Debian package by `apt-get download`,
    which needs no root. No file outside the cache is written or removed.

    Raises FileNotFoundError, naming all that was tried, if files are missing and cannot be fetched; OSError if the
    cache cannot be written; ValueError if a file is broken.
    """
    return find(SOURCE, load, folder)


def fashion_mnist_sample() -> FashionMNIST:
    """Load 1,000 real images that ship with the package, 100 a class: 800 to train on, 200 to test on.

    They are the first 100 images of each class in the training file, kept in file order, so that the classes
    come mixed: the first 80 of a class are for training, the next 20 for testing. None is from the test file.
    """
    with np.load(Path(__file__).with_name("fashion_mnist_sample.npz"), allow_pickle=False) as arrays:
        return FashionMNIST(*(arrays[field] for field in FashionMNIST._fields))


def load(folder: Path) -> FashionMNIST:
    """Load a folder's four files."""
    return FashionMNIST(*load_arrays(SOURCE, folder))
