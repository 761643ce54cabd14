"""Data sets and batches, by their public path."""

from .data.batches import Batches
from .data.fashion_mnist import CLASS_NAMES, FashionMNIST, fashion_mnist, fashion_mnist_sample
from .data.idx import read_idx

__all__ = ["CLASS_NAMES", "Batches", "FashionMNIST", "fashion_mnist", "fashion_mnist_sample", "read_idx"]
