"""Optimizers and schedules against PyTorch's, float64, over a hundred steps."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import vector
from vector import optim

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.peers

PAIRS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "SGD": (
        lambda p: optim.SGD(p, 0.05, momentum=0.9, nesterov=True, weight_decay=0.01),
        lambda p: torch.optim.SGD(p, 0.05, momentum=0.9, nesterov=True, weight_decay=0.01),
    ),
    "Adam": (
        lambda p: optim.Adam(p, 0.01, weight_decay=0.1),
        lambda p: torch.optim.Adam(p, 0.01, weight_decay=0.1),
    ),
    "AdamW": (lambda p: optim.AdamW(p, 0.01), lambda p: torch.optim.AdamW(p, 0.01)),
    "amsgrad": (
        lambda p: optim.Adam(p, 0.01, amsgrad=True),
        lambda p: torch.optim.Adam(p, 0.01, amsgrad=True),
    ),
    "RMSprop": (lambda p: optim.RMSprop(p, 0.01), lambda p: torch.optim.RMSprop(p, 0.01)),
    "RMSprop, momentum": (
        lambda p: optim.RMSprop(p, 0.01, decay=0.9, momentum=0.5, weight_decay=0.1),
        lambda p: torch.optim.RMSprop(p, 0.01, alpha=0.9, momentum=0.5, weight_decay=0.1),
    ),
    "Adagrad": (
        lambda p: optim.Adagrad(p, 0.1, weight_decay=0.1),
        lambda p: torch.optim.Adagrad(p, 0.1, weight_decay=0.1),
    ),
}


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("clipped", [False, True])
def test_a_hundred_steps(name: str, clipped: bool) -> None:
    rng = np.random.default_rng(0)
    start, matrix = rng.normal(size=(4, 3)), rng.normal(size=(5, 4))
    ours, theirs = vector.Tensor(start.copy()), torch.tensor(start.copy(), requires_grad=True)
    mine, other = (make([p]) for make, p in zip(PAIRS[name], (ours, theirs), strict=True))
    for _ in range(100):
        x = rng.normal(size=(5, 3))
        mine.zero_grad()
        vector.sum(vector.tanh(matrix @ ours - x) ** 2.0).backward()
        other.zero_grad()
        (torch.tanh(torch.tensor(matrix) @ theirs - torch.tensor(x)) ** 2.0).sum().backward()
        if clipped:
            norm = optim.clip_norm([ours], 2.0)
            np.testing.assert_allclose(norm, torch.nn.utils.clip_grad_norm_([theirs], 2.0).item(), rtol=1e-10)
            optim.clip_value([ours], 0.5)
            torch.nn.utils.clip_grad_value_([theirs], 0.5)
        mine.step()
        other.step()
    np.testing.assert_allclose(ours.data, theirs.detach().numpy(), rtol=1e-10, atol=1e-10)


def test_one_cycle() -> None:
    update = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(update, 0.3, total_steps=50)
    ours = optim.one_cycle(0.3, 50)
    for step in range(50):
        np.testing.assert_allclose(ours(step), theirs.get_last_lr()[0], rtol=1e-9)
        update.step()
        if step < 49:
            theirs.step()
