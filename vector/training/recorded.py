"""The training step of `fit`, recorded: it follows what changes between epochs, and within them where it finds it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from ..compiler import CompiledStep, StaleRecording
from .run import Step


class RecordedStep(Step):
    """A step that is recorded anew where it does something else than its recording, and goes on as Python where that
    happens again at once."""

    def __init__(self, step: Callable[..., Any]) -> None:
        super().__init__(step)
        self.recorded = CompiledStep(step)
        self.called_back, self.anew, self.plain = False, False, False

    def each(self, batches: Iterable[tuple[Any, ...]], still: bool) -> Iterator[Sequence[np.ndarray]]:
        """Take a step for each batch, replayed or as Python."""
        return self.recorded.each(batches, self, still)

    def __call__(self, *batch: Any) -> Any:
        """One step. Warns where steps before it may be wrong, and where it will not be recorded any more."""
        if self.plain:
            return self.step(*batch)
        try:
            return self.recorded(*batch)
        except StaleRecording as stale:
            self.plain = self.anew and not stale.confirmed
            self.anew = True
            if self.plain:
                warn(f"goes on without recording, as its step changes from call to call: {stale}")
            elif stale.replayed and not (stale.asked and self.called_back):
                warn(f"recorded its step anew: {stale}")
            return stale.result

    def next_epoch(self, called_back: bool) -> None:
        """Between two epochs, with or without a call of `on_epoch`, anything may have changed: look."""
        self.called_back = called_back
        self.recorded.forget_stale()
        self.recorded.verify_next()


def warn(what: str) -> None:
    warnings.warn(f"fit: {what}", RuntimeWarning, stacklevel=6)
