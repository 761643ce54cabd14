"""What recorded steps watch: a count of changes, and objects that bump it."""

from __future__ import annotations

from typing import Any


class Epoch:
    """A count of the changes to what recorded steps read without being told: attributes of layers and optimizers, a
    tensor's array and `requires_grad`. A replay compares one integer."""

    now = 0


epoch = Epoch()


def invalidate() -> None:
    """Make every recorded step evaluate its guards at its next call."""
    epoch.now += 1


class Guarded:
    """A layer or an optimizer: setting or deleting an attribute invalidates recorded steps."""

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name in self.__dict__:  # else it is a property
            invalidate()

    def __delattr__(self, name: str) -> None:
        super().__delattr__(name)
        invalidate()
