"""Text as numbers: documents of one length, in an order that a seed and a step number say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

NAMES = Path(__file__).with_name("names.txt")  # first names of many languages, written down for this example
BREAK = "\n"  # before, between and after lines; letter number 0

Example = tuple[np.ndarray, np.ndarray]  # letters (n, places), and what counts as the next one (n, places, letters)


class Text:
    """A text, and examples from it. Raises ValueError for a text without letters.

    Unless `stream`, each line is a document that starts and ends with a break; of one that is longer than the context
    a part is drawn. A stream is read without regard to lines: a document is any part of it.
    """

    def __init__(self, text: str, context: int, seed: int = 0, stream: bool = False, dtype: Any = np.float64) -> None:
        lines = [line for line in text.split(BREAK) if line.strip()]
        if not lines:
            raise ValueError("expected a text with letters, got an empty one")
        self.alphabet = BREAK + "".join(sorted({*text} - {BREAK}))
        self.places = {letter: i for i, letter in enumerate(self.alphabet)}
        self.context, self.seed, self.stream, self.dtype = context, seed, stream, dtype
        self.epoch, self.order = -1, np.zeros(0, np.int64)  # of the lines, in the epoch under way
        documents = [text] if stream else [f"{BREAK}{line}{BREAK}" for line in lines]
        self.documents = [self.numbers(document) for document in documents]
        if stream and len(text) <= context:
            raise ValueError(f"expected a text of more than {context} letters, got {len(text)}")
        self.hot = np.eye(len(self.alphabet), dtype=dtype)

    def numbers(self, text: str) -> np.ndarray:
        """Letters to their numbers. Raises ValueError for a letter that is not in the alphabet."""
        if unknown := {*text} - {*self.places}:
            raise ValueError(f"expected letters out of {self.alphabet.strip()!r}, got {min(unknown)!r}")
        return np.array([self.places[letter] for letter in text])

    def letters(self, numbers: np.ndarray) -> str:
        """Numbers to their letters."""
        return "".join(self.alphabet[i] for i in numbers)

    def examples(self, step: int, batch: int, pad: bool = True) -> Example:
        """The documents of a step. Each line is drawn once before any is drawn again. Breaks that do not count fill a
        document up to the context or, without `pad`, to the longest of the step."""
        drawn = [self.draw(step * batch + i) for i in range(batch)]
        places = self.context if pad else max(map(len, drawn)) - 1
        letters = np.zeros((batch, places), np.int64)
        targets = np.zeros((batch, places, len(self.alphabet)), self.dtype)
        for i, document in enumerate(drawn):
            n = len(document) - 1
            letters[i, :n], targets[i, :n] = document[:-1], self.hot[document[1:]]
        return letters, targets / targets.sum()

    def draw(self, number: int) -> np.ndarray:
        """Document number so and so of the training, no longer than the context and one more."""
        epoch, place = divmod(number, len(self.documents))
        if self.stream:
            document = self.documents[0]
        else:
            if epoch != self.epoch:
                self.order = np.random.default_rng([self.seed, epoch]).permutation(len(self.documents))
                self.epoch = epoch
            document = self.documents[self.order[place]]
        if len(document) > self.context + 1:
            start = np.random.default_rng([self.seed, number]).integers(0, len(document) - self.context)
            document = document[start : start + self.context + 1]
        return document
