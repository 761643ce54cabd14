"""Data sets and batches, by their public path."""

from .data import augment
from .data.batches import Batches
from .data.fashion_mnist import CLASS_NAMES, FashionMNIST, fashion_mnist, fashion_mnist_sample
from .data.idx import read_idx
from .data.mnist import EMNIST_CLASSES, Images, emnist, kmnist, mnist
from .data.tables import picture_folder, table

__all__ = [
    "CLASS_NAMES",
    "EMNIST_CLASSES",
    "Batches",
    "FashionMNIST",
    "Images",
    "augment",
    "emnist",
    "fashion_mnist",
    "fashion_mnist_sample",
    "kmnist",
    "mnist",
    "picture_folder",
    "read_idx",
    "table",
]
