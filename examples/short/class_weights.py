"""One class in twenty: what weights of the classes do for the rare one.

    python examples/short/class_weights.py

A network that wants to be right as often as it can gives up most of a rare class that overlaps with a common one. Where
missing it is worse than a false alarm, each class counts the same if it is weighted by what its samples are short of.
"""

import sys

import numpy as np

from vector import nn, optim
from viz.console import run, say

RARE = 0.05


def samples(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Points (n, 2) of two clouds that overlap, and 1 for those of the rare one."""
    rng = np.random.default_rng(seed)
    rare = (rng.random(n) < RARE).astype(int)
    return rng.normal(0.0, 1.0, (n, 2)) + 1.5 * rare[:, None], rare


def main() -> None:
    x, y = samples(4000, seed=0)
    new, truth = samples(4000, seed=1)
    say(f"of {len(y):,} samples {y.sum()} are rare")
    even = len(y) / (2.0 * np.bincount(y))
    say(f"{'weights':<14}{'accuracy':>9}{'rare ones found':>17}{'false alarms':>14}")
    for name, weights in (("none", None), ("{:.2f}, {:.2f}".format(*even), even)):
        model = nn.Sequential(nn.Dense(2, 16, "relu", seed=1), nn.Dense(16, 2, seed=2))
        model.fit(x, y, optim.AdamW(model.parameters(), 0.01), epochs=15, batch_size=50, class_weight=weights)
        found = model.predict(new).argmax(axis=1)
        right, caught, alarms = (found == truth).mean(), found[truth == 1].mean(), found[truth == 0].mean()
        say(f"{name:<14}{right:>9.1%}{caught:>17.1%}{alarms:>14.1%}")


if __name__ == "__main__":
    sys.exit(run("class_weights.py", main))
