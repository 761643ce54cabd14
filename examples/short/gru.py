"""A recurrent network learns to add the two numbers of a sequence that are marked, wherever they stand.

    python examples/short/gru.py

It is the adding problem of Hochreiter and Schmidhuber (1997). Whoever has not understood the marks does best by saying
1 always, with a mean squared error of 1/6.
"""

import sys

import numpy as np

import vector
from vector import nn, optim
from viz.console import run, say

STEPS, EPOCHS, BATCH, LR = 12, 8, 50, 0.01


def sequences(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Sequences (n, STEPS, 2) of numbers from 0 to 1 and marks, two of which are 1; the sums (n, 1) of the marked."""
    rng = np.random.default_rng(seed)
    values = rng.random((n, STEPS))
    marks = (rng.random((n, STEPS)).argsort(axis=1) < 2).astype(float)
    return np.stack((values, marks), axis=2), (values * marks).sum(axis=1, keepdims=True)


def main() -> None:
    x, y = sequences(3000, seed=0)
    model = nn.Sequential(nn.GRU(2, 24, last=True, seed=1), nn.Dense(24, 1, seed=2))
    say(f"saying 1 always: mean squared error {1 / 6:.4f}")
    model.fit(
        x,
        y,
        optim.AdamW(model.parameters(), LR),
        epochs=EPOCHS,
        batch_size=BATCH,
        loss=vector.mse,
        schedule=optim.one_cycle(LR, EPOCHS * len(x) // BATCH),
        on_epoch=lambda row: say(f"epoch {row['epoch']:>2}   mean squared error {row['loss']:.4f}"),
    )
    new, sums = sequences(500, seed=1)
    say(f"on new sequences: {model.evaluate(new, sums, vector.mse)[0]:.4f}")
    for sequence, total, found in zip(new[:3], sums[:3, 0], model.predict(new[:3])[:, 0], strict=True):
        marked = " + ".join(f"{value:.3f}" for value, mark in sequence if mark)
        say(f"{marked} = {total:.3f}   the network: {found:.3f}")


if __name__ == "__main__":
    sys.exit(run("gru.py", main))
