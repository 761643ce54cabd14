"""A layer of one's own: units that answer to what is near their centre, in place of what lies on one side of a line.

    python examples/short/own_layer.py

A layer is a class: its parameters are tensors among its attributes, and `__call__` computes from ops. Training, saving
and recording need no more; `gradcheck` compares its derivatives with differences.
"""

import sys

import numpy as np

import vector
from vector import Tensor, nn, optim
from viz.console import run, say

UNITS, EPOCHS = 20, 60


class Near(nn.Layer):
    """exp(-s |x - c|^2) for each unit, with its centre c and sharpness s = exp(log_s)."""

    def __init__(self, n_in: int, units: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.centres = Tensor(rng.uniform(-1.0, 1.0, (n_in, units)))
        self.log_sharpness = Tensor(np.full(units, 1.0))

    def __call__(self, x: Tensor) -> Tensor:
        """(n, n_in) to (n, units)."""
        apart = vector.expand_dims(x, 2) - self.centres  # (n, n_in, units)
        return vector.exp(-vector.exp(self.log_sharpness) * vector.sum(apart * apart, axis=1))


def spots(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Points (n, 2) of a square, and 1 for those that lie on one of its five spots, as of a die."""
    x = np.random.default_rng(seed).uniform(-1.0, 1.0, (n, 2))
    apart = np.linalg.norm(x[:, None] - [[0.6, 0.6], [0.6, -0.6], [0.0, 0.0], [-0.6, 0.6], [-0.6, -0.6]], axis=2)
    return x, (apart.min(axis=1) < 0.3).astype(int)


def main() -> None:
    x, y = spots(1000, seed=0)
    layer = Near(2, UNITS, seed=1)
    names = " and ".join(f"{name} {p.shape}" for name, p in layer.named().items())
    say(f"Near has {names}; its derivatives agree with differences: {vector.gradcheck(layer, [Tensor(x[:5])])}")
    for name, hidden in (("Dense", nn.Dense(2, UNITS, "relu", seed=1)), ("Near", layer)):
        model = nn.Sequential(hidden, nn.Dense(UNITS, 2, seed=2))
        model.fit(x, y, optim.AdamW(model.parameters(), 0.05), epochs=EPOCHS, batch_size=50)
        say(f"{name:<6}{UNITS} units   accuracy on new points {model.evaluate(*spots(1000, seed=1))[1]:.3f}")


if __name__ == "__main__":
    sys.exit(run("own_layer.py", main))
