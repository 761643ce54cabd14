"""Training: the loop of `fit`, and files from which it goes on."""

from .sequential import Sequential

__all__ = ["Sequential"]
