"""Train a character GPT on names, on single numbers or on arrays, and let it make up new ones.

    python examples/names_gpt/train.py
    python examples/names_gpt/train.py --engine scalar --steps 100
    python examples/names_gpt/train.py --size big --text FILE

Both engines start from the same weights, read the same documents, and go on from each other's files.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from model import NUMBERS, TENSORS, Gpt, Sizes, data, first_weights
from text import BREAK, NAMES, Text

import vector
from vector import checkpoint
from vector.optim import linear
from vector.runtime.threads import use_threads
from viz.console import run, say

ENGINES = {"scalar": NUMBERS, "vector": TENSORS}
BETAS = (0.9, 0.99)  # of Adam
EVERY = 100  # steps between two lines, and two files


class Recipe(NamedTuple):
    """What is trained, and how."""

    width: int
    heads: int
    layers: int
    context: int
    stream: bool  # whether a text is read without regard to its lines
    batch: int  # documents a step
    steps: int
    lr: float
    dtype: str


RECIPES = {
    "small": Recipe(16, 4, 1, 16, stream=False, batch=1, steps=1000, lr=0.01, dtype="float64"),
    "big": Recipe(64, 4, 4, 64, stream=True, batch=32, steps=3000, lr=0.003, dtype="float32"),
}


def optimizer_of(model: Gpt, lr: float) -> Any:
    return model.engine.package.optim.Adam(model.parameters, lr, BETAS)


def stepper(model: Gpt, optimizer: Any) -> Callable[[np.ndarray, np.ndarray], float]:
    """A step of training as a function of letters and targets, recorded where the engine can, with the same bits.
    Returns the loss."""

    def step(letters: np.ndarray, targets: np.ndarray) -> Any:
        return model.step(optimizer, letters, targets)

    if model.engine.package is vector:
        step = vector.compile(step)
    return lambda letters, targets: step(letters, targets).item()


def sample(model: Gpt, text: Text, rng: np.random.Generator, most: int, temperature: float) -> str:
    """Letters drawn one after the other, up to a break, or in a stream up to so many."""
    letters = [0]
    with model.engine.package.no_grad():
        while len(letters) <= most and (text.stream or letters[-1] or len(letters) == 1):
            logits = data(model(np.array([letters[-text.context :]])))[0, -1] / temperature
            letters.append(int(np.argmax(logits + rng.gumbel(size=logits.shape))))
    return text.letters(np.array(letters[1:])).rstrip(BREAK)


class Training:
    """A model in training, and the file from which it goes on."""

    def __init__(self, args: argparse.Namespace) -> None:
        recipe, content = RECIPES[args.size], args.text.read_text(encoding="utf-8")
        self.recipe, self.steps, self.path = recipe, args.steps or recipe.steps, args.out
        self.text = Text(content, recipe.context, args.seed, recipe.stream, recipe.dtype)
        self.sizes = Sizes(len(self.text.alphabet), recipe.width, recipe.heads, recipe.layers, recipe.context)
        digest = hashlib.sha256(content.encode()).hexdigest()
        settings = {"alphabet": self.text.alphabet, "text": digest, "seed": args.seed, "sizes": list(self.sizes)}
        self.kept = {"settings": settings | {"batch": recipe.batch, "dtype": recipe.dtype}}
        self.losses: list[float] = []
        saved = self.saved(args.resume)
        weights = saved["weights"] if saved else first_weights(self.sizes, args.seed, recipe.dtype)
        self.model = Gpt(self.sizes, ENGINES[args.engine], weights)
        self.optimizer = optimizer_of(self.model, recipe.lr)
        if saved:
            self.optimizer.load_state_dict(saved["optimizer"])
            self.losses = saved["losses"].tolist()

    def saved(self, resume: bool) -> dict[str, Any] | None:
        """What the file holds, if it is to go on. Raises ValueError for a file of another training."""
        if not resume or not self.path.exists():
            return None
        saved = checkpoint.load(self.path)
        if saved.get("settings") != self.kept["settings"]:
            raise ValueError(f"{self.path}: expected a training of the same size, text and seed; give another --out")
        return saved

    def save(self) -> None:
        """Write all it takes to go on, or to look inside: whole or not at all."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        rest = {"optimizer": self.optimizer.state_dict(), "losses": np.array(self.losses)}
        checkpoint.save(self.path, self.kept | {"weights": self.model.state()} | rest)

    def run(self, report: Callable[[int, float, float], None]) -> None:
        """Take the steps that are left. Tells each hundredth step, the mean loss since the last, and seconds a step."""
        step, schedule = stepper(self.model, self.optimizer), linear(self.recipe.lr, self.steps)
        pad = self.model.engine.package is vector  # so that one recording takes documents of any length
        start = time.perf_counter()
        for number in range(len(self.losses), self.steps):
            self.optimizer.lr = schedule(number)
            loss = step(*self.text.examples(number, self.recipe.batch, pad))
            if not np.isfinite(loss):
                raise FloatingPointError(f"step {number + 1}: the loss is {loss}")
            self.losses.append(loss)
            if len(self.losses) % EVERY == 0:
                now = time.perf_counter()
                report(len(self.losses), float(np.mean(self.losses[-EVERY:])), (now - start) / EVERY)
                self.save()
                start = time.perf_counter()


def main(args: argparse.Namespace) -> int:
    training = Training(args)
    sizes, text, model = training.sizes, training.text, training.model
    count = sum(x.size for x in model.weights.values())
    documents = (
        f"{len(text.documents):,} lines" if not text.stream else f"a stream of {len(text.documents[0]):,} letters"
    )
    say(f"{args.text}: {documents}, an alphabet of {sizes.letters}")
    say(
        f"{count:,} parameters: {sizes.layers} layer{'s' * (sizes.layers > 1)} of width {sizes.width}, {sizes.heads} "
        f"heads, {sizes.context} places; engine {args.engine}"
    )
    if training.losses:
        say(f"going on from {args.out}, after {len(training.losses):,} steps")

    def report(step: int, loss: float, seconds: float) -> None:
        took = f"{seconds * 1e3:.1f} ms" if seconds > 1e-3 else f"{seconds * 1e6:.0f} us"
        say(f"step {step:>6,}/{training.steps:,}   loss {loss:.4f}   {took} a step")

    code = 0
    try:
        with use_threads():  # small products take less time on one
            training.run(report)
        training.save()
        say(f"wrote {args.out}")
    except KeyboardInterrupt:  # maybe in the midst of a step: the file of the last hundred stays
        code = 130
        say(f"interrupted after {len(training.losses):,} steps; --resume goes on from {args.out}, if it is there")
    rng = np.random.default_rng(args.seed)
    for _ in range(args.samples):
        say(f"  {sample(model, text, rng, args.letters or sizes.context, args.temperature)}")
    last = training.losses[-EVERY:]
    if last:
        say(f"mean loss of the last {len(last)} steps: {np.mean(last):.4f}")
    return code


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    add = parser.add_argument
    add("--engine", choices=ENGINES, default="vector", help="single numbers, or arrays and a recorded step (vector)")
    add("--size", choices=RECIPES, default="small", help="small: a line a step; big: batches of a stream (small)")
    add("--text", type=Path, metavar="FILE", default=NAMES, help="lines, or a stream, to learn from (names.txt)")
    add("--steps", type=int, help="of the whole training: " + ", ".join(f"{r.steps} {n}" for n, r in RECIPES.items()))
    add("--seed", type=int, default=0, help="of the first weights, the order of the lines and the samples (0)")
    add("--samples", type=int, default=20, help="how many to make up at the end (%(default)s)")
    add("--letters", type=int, help="the most letters of a sample (as many as the model sees places)")
    add("--temperature", type=float, default=0.7, help="of the samples: less is surer (%(default)s)")
    add("--out", type=Path, metavar="FILE", default=Path("runs/names-gpt/model.npz"), help="where to write what was "
        "learned, every hundred steps, too (%(default)s)")  # fmt: skip
    add("--resume", action="store_true", help="go on from that file, if it is there, which either engine wrote")
    args = parser.parse_args(arguments)
    if min(args.steps or 1, args.samples + 1, args.letters or 1, args.seed + 1) < 1 or not args.temperature > 0.0:
        parser.error("expected numbers from 1, and a temperature above 0")
    return args


if __name__ == "__main__":
    sys.exit(run("train.py", lambda: main(parse())))
