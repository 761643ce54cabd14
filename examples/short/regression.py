"""Fit a curve through noisy points: a regression, whose targets are real numbers.

python examples/short/regression.py
"""

import sys

import numpy as np

import vector
from vector import nn, optim
from viz.console import run, say

NOISE = 0.1


def curve(x: np.ndarray) -> np.ndarray:
    return np.sin(3.0 * x) + 0.3 * x * x


def main() -> None:
    rng = np.random.default_rng(0)
    x = rng.uniform(-2.0, 2.0, (800, 1))
    y = curve(x) + rng.normal(0.0, NOISE, x.shape)
    model = nn.Sequential(nn.Dense(1, 32, "tanh", seed=1), nn.Dense(32, 32, "tanh", seed=2), nn.Dense(32, 1, seed=3))
    epochs, batch = 100, 32
    history = model.fit(
        x,
        y,
        optim.AdamW(model.parameters(), 0.01),
        epochs=epochs,
        batch_size=batch,
        loss=vector.mse,
        schedule=optim.one_cycle(0.01, epochs * 640 // batch),
        validation=0.2,
    )
    for row in history[9::30]:
        training, aside = row["loss"], row["test_loss"]
        say(f"epoch {row['epoch']:>3}   mean squared error {training:.4f}   on points set aside {aside:.4f}")
    say(f"the noise alone: {NOISE**2:.4f}")
    say("\n     x   the curve   the network")
    at = np.linspace(-1.5, 1.5, 6)[:, None]
    for place, true, found in zip(at[:, 0], curve(at)[:, 0], model.predict(at)[:, 0], strict=True):
        say(f"{place:+6.2f}{true:12.3f}{found:14.3f}")


if __name__ == "__main__":
    sys.exit(run("regression.py", main))
