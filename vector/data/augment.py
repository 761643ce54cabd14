"""Images changed a little, at random, so that no epoch shows the same ones.

Each is a function of a batch (n, height, width) or (n, height, width, channels) and a generator that gives a batch of
the same shape. `Batches` and `fit` take one, or several in a list, and give each batch a generator that follows from
seed, epoch and batch, so that a training that was stopped goes on with the same images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

__all__ = ["Augmentation", "cutout", "mirror", "shift"]

Augmentation = Callable[[np.ndarray, np.random.Generator], np.ndarray]
"""Gives a batch of images changed at random, by a generator."""


def shift(pixels: int) -> Augmentation:
    """Move each image by up to `pixels` up or down and left or right; what comes in is 0."""

    def shifted(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        n, height, width = images.shape[:3]
        margin = [(0, 0), (pixels, pixels), (pixels, pixels), *[(0, 0)] * (images.ndim - 3)]
        wide = np.pad(images, margin)
        down, right = rng.integers(0, 2 * pixels + 1, (2, n))
        rows, columns = down[:, None] + np.arange(height), right[:, None] + np.arange(width)
        return wide[np.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]]

    return shifted


def mirror(part: float = 0.5) -> Augmentation:
    """Mirror a `part` of the images, left to right."""

    def mirrored(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        chosen = rng.random(len(images)) < part
        out = images.copy()
        out[chosen] = images[chosen][:, :, ::-1]
        return out

    return mirrored


def cutout(pixels: int) -> Augmentation:
    """Set a square of `pixels` x `pixels` to 0, whose centre is anywhere in the image (DeVries and Taylor, 2017)."""

    def cut(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        n, height, width = images.shape[:3]
        rows = np.arange(height) - rng.integers(0, height, (n, 1)) + pixels // 2  # from the square's first
        columns = np.arange(width) - rng.integers(0, width, (n, 1)) + pixels // 2
        inside_rows, inside_columns = (0 <= rows) & (rows < pixels), (0 <= columns) & (columns < pixels)
        out = images.copy()
        out[inside_rows[:, :, None] & inside_columns[:, None, :]] = 0
        return out

    return cut


def apply(augment: Augmentation | Sequence[Augmentation], images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One augmentation after the other. Raises ValueError where one changes the shape of the batch."""
    for f in [augment] if callable(augment) else augment:
        shape = images.shape
        images = f(images, rng)
        if images.shape != shape:
            raise ValueError(f"augment: expected a batch of shape {shape}, got {images.shape}")
    return images
