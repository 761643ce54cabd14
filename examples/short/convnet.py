"""A small convolutional network on the Fashion-MNIST sample, beside a dense one of as many parameters.

python examples/short/convnet.py
"""

import sys
from functools import partial

import numpy as np

import vector
from vector import nn, optim
from vector.data import augment
from vector.datasets import fashion_mnist_sample
from viz.console import run, say

EPOCHS, BATCH, LR = 12, 50, 0.005
Conv, Dense, BatchNorm = (partial(layer, dtype=np.float32) for layer in (nn.Conv2D, nn.Dense, nn.BatchNorm))


def convolutional() -> nn.Sequential:
    """Images (n, 28, 28) to scores (n, 10)."""
    return nn.Sequential(
        Conv(1, 8, 3, padding="same", seed=1),  # (n, 28, 28, 8): an axis of channels comes last
        nn.MaxPool(2),  # (n, 14, 14, 8)
        BatchNorm(8),
        nn.Lambda(vector.relu),
        Conv(8, 16, 3, padding="same", seed=2),
        nn.MaxPool(2),  # (n, 7, 7, 16)
        BatchNorm(16),
        nn.Lambda(vector.relu),
        nn.Flatten(),
        nn.Dropout(0.3, seed=3),
        Dense(7 * 7 * 16, 10, seed=4),
    )


def dense() -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), Dense(784, 12, "relu", seed=1), Dense(12, 10, seed=2))


def main() -> None:
    data = fashion_mnist_sample()
    steps = EPOCHS * len(data.train_images) // BATCH
    for name, model in (("dense", dense()), ("convolutional", convolutional())):
        model.fit(
            data.train_images,
            data.train_labels,
            optim.AdamW(model.parameters(), LR),
            epochs=EPOCHS,
            batch_size=BATCH,
            schedule=optim.one_cycle(LR, steps),
            augment=augment.mirror(),
        )
        count = sum(p.size for p in model.parameters())
        accuracy = model.evaluate(data.test_images, data.test_labels)[1]
        say(f"{name:<14}{count:>7,} parameters   accuracy on {len(data.test_images)} test images {accuracy:.3f}")


if __name__ == "__main__":
    sys.exit(run("convnet.py", main))
