"""Kill a training at random moments with SIGKILL, resume it each time, and compare the bits it ends with.

python tests/training/kill_and_resume.py --kills 200

Each training is a process of its own that writes a checkpoint after every step, so that many a kill hits the writing.
It is killed at a moment drawn over the whole of its time; another process takes it up and runs to the end.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from vector import nn, optim  # noqa: E402
from vector.datasets import fashion_mnist_sample  # noqa: E402
from vector.training import checkpoint  # noqa: E402

EPOCHS, BATCH = 3, 32


def train(path: str | None) -> str:
    """A short run with all that has a state: momenta, dropout, a schedule, sums. Returns a digest of its end."""
    data = fashion_mnist_sample()
    layers = nn.Dense(784, 16, "relu", seed=0, dtype=np.float32), nn.Dense(16, 10, seed=1, dtype=np.float32)
    model = nn.Sequential(nn.Flatten(), layers[0], nn.Dropout(0.3, seed=2), layers[1])
    optimizer = optim.AdamW(model.parameters())
    history = model.fit(
        data.train_images,
        data.train_labels,
        optimizer,
        epochs=EPOCHS,
        batch_size=BATCH,
        schedule=optim.cosine(1e-2, EPOCHS * -(-len(data.train_images) // BATCH), warmup=5),
        validation=(data.test_images, data.test_labels),
        threads=1,
        checkpoint=path,
        every=None if path is None else 1,
    )
    rng = model.layers[2].rng.bit_generator.state  # type: ignore[attr-defined]
    end = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "rng": rng, "history": history}
    return hashlib.sha256(checkpoint.pack(end)).hexdigest()


class Outcome(NamedTuple):
    """What a kill did."""

    same: bool  # the resumed run ended with the bits of the undisturbed one
    unreadable: bool  # the checkpoint could not be loaded
    under_way: bool  # there was a checkpoint already
    writing: bool  # a half-written file was left beside it


def start(path: Path) -> subprocess.Popen[str]:
    """A process that is about to train."""
    words = [sys.executable, __file__, "--train", str(path)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout and process.stdout.readline() == "ready\n"
    return process


def end(process: subprocess.Popen[str]) -> str:
    """What it ended with."""
    with process:
        return process.communicate()[0].strip()


def kill(folder: Path, moment: float, expected: str) -> Outcome | None:
    """Kill a training that many seconds after its start, and resume it; None if it was over by then."""
    path = folder / "run.npz"
    with start(path) as process:
        time.sleep(moment)
        process.kill()
    if process.returncode != -signal.SIGKILL:
        return None
    under_way, writing, unreadable = path.exists(), any(folder.glob("*.tmp")), False
    try:
        checkpoint.load(path)
    except FileNotFoundError:
        pass
    except ValueError:
        unreadable = True
    return Outcome(end(start(path)) == expected, unreadable, under_way, writing)


def kill_and_resume(kills: int, seed: int = 0) -> list[Outcome]:
    """The outcomes of so many kills."""
    expected, draw, outcomes = train(None), random.Random(seed), []
    with tempfile.TemporaryDirectory() as folder:
        process = start(Path(folder) / "run.npz")
        began = time.perf_counter()
        assert end(process) == expected
        whole = time.perf_counter() - began
    while len(outcomes) < kills:
        with tempfile.TemporaryDirectory() as folder:
            outcome = kill(Path(folder), draw.uniform(0.0, whole), expected)
        outcomes += [outcome] if outcome else []
    return outcomes


def report(outcomes: list[Outcome]) -> str:
    """The figures in words."""
    same, unreadable, under_way, writing = (sum(column) for column in zip(*outcomes, strict=True))
    return (
        f"{same} of {len(outcomes)} end bit-identical, {unreadable} unreadable checkpoints\n"
        f"({under_way} kills after the first checkpoint, {writing} in the middle of writing one)"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200, help="how often to kill (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (%(default)s)")
    parser.add_argument("--train", metavar="PATH", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.train:
        print("ready", flush=True)
        print(train(args.train))
    else:
        found = kill_and_resume(args.kills, args.seed)
        print(report(found))
        sys.exit(not all(outcome.same and not outcome.unreadable for outcome in found))
