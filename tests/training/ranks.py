"""What the tests of vector.distributed run on several ranks.

mpiexec -n 3 python tests/training/ranks.py FOLDER TASK [TASK ...]

A task that ends well leaves FOLDER/TASK-RANK.npz. Those that end badly do so on rank 1.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

import vector  # noqa: E402
from vector import checkpoint, nn, optim  # noqa: E402
from vector.data import augment  # noqa: E402
from vector.distributed import ALONE, Alone, Ranks  # noqa: E402

IMAGES = np.random.default_rng(3).normal(size=(29, 2, 3))
LABELS = np.random.default_rng(4).integers(0, 3, 29)
WEIGHTS = np.where(np.arange(29) % 3 == 0, 0.0, np.random.default_rng(5).random(29))
BATCH, EPOCHS, LR = 7, 3, 0.1  # four batches of 7 and one of 1, which most ranks have no row of
for epoch in range(EPOCHS):
    WEIGHTS[np.random.default_rng([6, epoch]).permutation(29)[-1]] = 0.5  # the only one of its batch

# Fits that give the same on any number of ranks.
SAME: dict[str, dict[str, Any]] = {
    "plain": {},
    "weighted": {"sample_weight": WEIGHTS, "class_weight": [1.0, 2.0, 0.5]},
    "augmented": {"augment": augment.mirror()},
}
OTHER: dict[str, dict[str, Any]] = {
    "eager": {"compile": False},
    "single": {},
    "adamw": {},
    "dropout": {},
    "norm": {"batch_size": 14},
}


def job(name: str) -> tuple[nn.Sequential, optim.Optimizer]:
    """A network and its optimizer, always made alike."""
    if name == "page":
        sizes = ((784, 128, "relu"), (128, 10, None))
        model = nn.Sequential(nn.Flatten(), *(nn.Dense(*x, seed=0, dtype=np.float32) for x in sizes))
        return model, optim.SGD(model.parameters(), 0.01)
    dtype = np.float32 if name == "single" else np.float64
    layers: list[Any] = [nn.Dense(6, 5, "tanh", seed=0, dtype=dtype), nn.Dense(5, 3, seed=1, dtype=dtype)]
    if name in ("dropout", "norm"):
        layers[1:1] = [nn.Dropout(0.4, seed=2)] if name == "dropout" else [nn.BatchNorm(5)]
    model = nn.Sequential(nn.Flatten(), *layers)
    return model, optim.AdamW(model.parameters()) if name == "adamw" else optim.SGD(model.parameters(), LR)


def fit(name: str, ranks: Alone = ALONE, **more: Any) -> dict[str, Any]:
    """Train as `name` says. Returns all that there is afterwards."""
    model, optimizer = job(name)
    images, labels = (IMAGES[:-1], LABELS[:-1]) if name == "norm" else (IMAGES, LABELS)  # no row alone
    options = {"epochs": EPOCHS, "batch_size": BATCH, "seed": 6, "validation": (IMAGES[:2], LABELS[:2])}
    options |= SAME.get(name, {}) | OTHER.get(name, {}) | more
    history = model.fit(images, labels, optimizer, ranks=ranks, **options)
    return {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "history": history}


def half(path: Path, name: str, ranks: Alone = ALONE) -> None:
    """Train as `name` says until the middle of the second epoch, with a checkpoint after each step."""

    class Stop(Exception):
        pass

    def stop(row: dict[str, float]) -> None:
        if row["step"] == 8:
            raise Stop

    try:
        fit(name, ranks, checkpoint=path, every=1, on_step=stop)
    except Stop:
        return
    raise AssertionError


def resumed(folder: Path, name: str, ranks: Alone) -> dict[str, Any]:
    """Train as `name` says, in two runs. The checkpoint in between stays."""
    path = folder / f"{name}-half.ckpt"
    half(path, name, ranks)
    ranks.once("a copy", lambda: shutil.copy(path, folder / "on.ckpt"))
    return fit(name, ranks, checkpoint=folder / "on.ckpt")


def taken(folder: Path, name: str, ranks: Alone) -> dict[str, Any]:
    """Go on from the checkpoint of one process."""
    return fit(name, ranks, checkpoint=folder / "alone.ckpt")


def own_loop(name: str, ranks: Ranks) -> dict[str, Any]:
    """A recorded step of one's own, as docs/distributed.md has it. Returns its program and its losses, too."""
    model, optimizer = job(name)
    rows = 32 * ranks.size
    images = np.zeros((rows, 784), np.float32) if name == "page" else IMAGES
    labels, batch = (np.zeros(rows, int), rows) if name == "page" else (LABELS, BATCH)
    part, dtype = (ranks.rank, ranks.size), model.parameters()[0].dtype
    batches = vector.datasets.Batches(images, labels, batch, seed=6, dtype=dtype, scale=None, part=part)

    @vector.compile
    def train_step(images: Any, labels: Any, share: Any) -> Any:
        loss = vector.cross_entropy(model(images), labels) * share
        optimizer.zero_grad()
        loss.backward()
        loss = ranks.sum_gradients(optimizer.parameters, loss)
        optimizer.step()
        return loss

    losses = [train_step(*batch).item() for _ in range(EPOCHS) for batch in batches]
    return {"model": model.state_dict(), "program": str(train_step.program), "losses": losses}


def end_badly(name: str, ranks: Ranks, folder: Path) -> None:
    """Train without end, but on rank 1."""
    here = ranks.rank == 1
    model, optimizer = job("plain")
    images = IMAGES + 1.0 if name == "data" and here else IMAGES
    if name == "weights" and here:
        model[1].weight.data[0, 0] += 1e-9

    def on_step(row: dict[str, float]) -> None:
        if row["step"] == 20 and here:
            if name == "error":
                raise ArithmeticError("of rank 1")
            if name == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            if name == "leaves":
                sys.exit(0)
            if name == "evaluates":
                ranks.gather("something else", None)
            if name == "sums":
                ranks.all_reduce(np.zeros(3))
            if name == "frozen":
                model[1].bias.requires_grad = False
                optimizer.lr = 0.25
            if name == "drifts":
                model[1].weight.data[0, 0] += 1e-9

    more = {"checkpoint": folder / "run.ckpt", "every": 1, "on_step": on_step}
    model.fit(images, LABELS, optimizer, epochs=10_000, batch_size=BATCH, ranks=ranks, **more)


def main(folder: Path, tasks: list[str]) -> None:
    ranks = Ranks()
    if ranks.first:
        print(*ranks.processes, sep="\n", file=sys.stderr, flush=True)
    for task in tasks:
        name, _, how = task.partition(".")
        if how == "badly":
            end_badly(name, ranks, folder)
        how_to = {"own": own_loop, "resumed": partial(resumed, folder), "taken": partial(taken, folder), "": fit}
        done = how_to[how](name, ranks)
        checkpoint.save(folder / f"{task}-{ranks.rank}.npz", done)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
