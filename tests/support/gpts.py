"""The GPT of examples/names_gpt, for tests."""

import numpy as np
from example_runs import EXAMPLES, importing

FOLDER = EXAMPLES / "names_gpt"
with importing(FOLDER):
    from model import NUMBERS, TENSORS, Engine, Gpt, Sizes, first_weights

Example = tuple[np.ndarray, np.ndarray]


def weights_of(sizes: Sizes, seed: int, size: float = 4.0) -> dict[str, np.ndarray]:
    """First weights so large that attention prefers some places, and rounded, so that failures are short."""
    return {name: (size * x).round(3) for name, x in first_weights(sizes, seed).items()}


def pair(sizes: Sizes, seed: int) -> tuple[Gpt, Gpt]:
    """One model on both engines."""
    return tuple(Gpt(sizes, engine, weights_of(sizes, seed)) for engine in (NUMBERS, TENSORS))


def example(documents: list[list[int]], letters: int, places: int) -> Example:
    """Documents as numbers, of any length of at least 2, padded to so many places."""
    given = np.zeros((len(documents), places), np.int64)
    targets = np.zeros((len(documents), places, letters))
    for i, document in enumerate(documents):
        n = len(document) - 1
        given[i, :n] = document[:-1]
        targets[i, np.arange(n), document[1:]] = 1.0
    return given, targets / targets.sum()


__all__ = ["FOLDER", "NUMBERS", "TENSORS", "Engine", "Example", "Gpt", "Sizes", "example", "pair", "weights_of"]
