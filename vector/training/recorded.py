"""The training step of `fit`, recorded: it follows what changes between epochs, and within them where it finds it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from ..compiler import CompiledStep, StaleRecording
from ..compiler.step import arrays_of


class RecordedStep:
    """A step that is recorded anew where it does something else than its recording, and goes on as Python where that
    happens again at once. Returns the plain arrays of the tensors that the step returns."""

    def __init__(self, step: Callable[..., Any]) -> None:
        self.python, self.recorded = step, CompiledStep(step)
        self.called_back, self.anew, self.plain = False, False, False

    def __call__(self, *batch: Any) -> tuple[np.ndarray, ...]:
        """One step. Warns where steps before it may be wrong, and where it will not be recorded any more."""
        if self.plain:
            return arrays_of(self.python(*batch))
        if found := self.recorded.replayed(batch):
            return found[1]
        try:
            result = self.recorded(*batch)
        except StaleRecording as stale:
            self.plain = self.anew and not stale.confirmed
            self.anew = True
            if self.plain:
                warn(f"goes on without recording, as its step changes from call to call: {stale}")
            elif stale.replayed and not (stale.asked and self.called_back):
                warn(f"recorded its step anew: {stale}")
            result = stale.result
        return arrays_of(result)

    def next_epoch(self, called_back: bool) -> None:
        """Between two epochs, with or without a call of `on_epoch`, anything may have changed: look."""
        self.called_back = called_back
        self.recorded.forget_stale()
        self.recorded.verify_next()


def warn(what: str) -> None:
    warnings.warn(f"fit: {what}", RuntimeWarning, stacklevel=5)
