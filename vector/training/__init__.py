"""Training: the loop of `fit`, and files from which it goes on."""

from .callbacks import EarlyStopping
from .finder import find_lr
from .sequential import Sequential

__all__ = ["EarlyStopping", "Sequential", "find_lr"]
