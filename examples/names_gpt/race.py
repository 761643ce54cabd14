"""Race our step of training the GPT against numpy by hand, JAX and PyTorch.

    python examples/names_gpt/race.py
    python examples/names_gpt/race.py --size big --batch 32 --racers ours torch --seconds 2

Everybody trains from the same weights on the same names, first one and then 32 a step, padded to 16 places, in float32.
Before that the losses of the first 50 steps are compared with ours; who computes something else does not race. All run
on one thread, in one process, in turn, so that what else the machine does falls on all alike.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from statistics import median
from typing import Any

import numpy as np
from model import Sizes, first_weights
from racers import RACERS, Step, Task
from text import NAMES, Text
from train import RECIPES

from vector.runtime.threads import use_threads
from viz.console import run, say

COMPARED = 50  # steps whose losses are compared
TOLERANCE = 2e-3  # of a loss, relative to the mean of ours: float32, and sums in another order, over 50 steps
EXAMPLES = 100  # that are gone through again and again
Row = dict[str, Any]


def task_of(size: str, batch: int, dtype: str = "float32") -> Task:
    """A model of train.py, and names in batches, for the big one as a stream."""
    recipe = RECIPES[size]
    text = Text(NAMES.read_text(encoding="utf-8"), recipe.context, stream=recipe.stream, dtype=dtype)
    sizes = Sizes(len(text.alphabet), recipe.width, recipe.heads, recipe.layers, recipe.context)
    examples = [text.examples(i, batch) for i in range(EXAMPLES)]
    return Task(sizes, first_weights(sizes, dtype=dtype), examples, recipe.lr)


def race(task: Task, names: Iterable[str], rounds: int, seconds: float) -> list[Row]:
    """A row for each racer, ours first: microseconds a step in each round, or why there are none."""
    rows: list[Row] = []
    steps: dict[str, Step] = {}
    expected: list[float] = []
    for name in ("ours", *(name for name in names if name != "ours")):
        row: Row = {"name": name, "program": RACERS[name].title, "status": "raced", "rounds": []}
        rows.append(row)
        if find_spec(RACERS[name].needs) is None:
            row["status"] = "absent"
            continue
        step = RACERS[name].make(task)
        losses = [float(step(i % EXAMPLES)) for i in range(COMPARED)]
        expected = expected or losses
        row["difference"] = float(np.max(np.abs(np.subtract(losses, expected))) / np.mean(expected))
        if row["difference"] <= TOLERANCE:
            steps[name] = step
        else:
            row["status"] = f"disqualified: losses {row['difference']:.1e} apart"
    done = dict.fromkeys(steps, COMPARED)
    for _ in range(rounds):
        for row in rows:
            if row["name"] in steps:
                took, done[row["name"]] = timed(steps[row["name"]], done[row["name"]], seconds)
                row["rounds"].append(1e6 * took)
    for row in rows:
        if row["rounds"]:
            row["min"], row["median"] = min(row["rounds"]), median(row["rounds"])
            row["ours_over_theirs"] = min(rows[0]["rounds"]) / row["min"]
    return rows


def timed(step: Step, start: int, seconds: float) -> tuple[float, int]:
    """Train from example number `start` on for so long: seconds a step, and the number of the next example."""
    gc.collect()
    begun, i, loss = time.perf_counter(), start, None
    while time.perf_counter() - begun < seconds or i - start < 3:
        loss = step(i % EXAMPLES)
        i += 1
    float(loss)  # for who computes behind Python's back
    return (time.perf_counter() - begun) / (i - start), i


def table(rows: list[Row]) -> str:
    """The rows as text."""
    lines = [f"{'program':<24}{'us a step':>10}{'median':>9}{'ours/it':>9}{'losses apart':>14}"]
    for row in rows:
        if "min" in row:
            times = f"{row['min']:>10.0f}{row['median']:>9.0f}{row['ours_over_theirs']:>9.2f}"
            lines.append(f"{row['program']:<24}{times}{row['difference']:>14.1e}")
        else:
            lines.append(f"{row['program']:<24}  {row['status']}")
    return "\n".join(lines)


def main(args: argparse.Namespace) -> None:
    with use_threads(1):
        for batch in args.batch:
            say(f"{args.size}, {'one document a step' if batch == 1 else f'batches of {batch}'}")
            say(f"{table(race(task_of(args.size, batch), args.racers, args.rounds, args.seconds))}\n")


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    add = parser.add_argument
    add("--size", choices=RECIPES, default="small", help="of the model, as in train.py (%(default)s)")
    add("--batch", type=int, nargs="+", default=[1, 32], help="documents a step (1 32)")
    add("--racers", nargs="+", choices=RACERS, default=list(RACERS), metavar="NAME", help=", ".join(RACERS))
    add("--rounds", type=int, default=9, help="turns that each racer takes (%(default)s)")
    add("--seconds", type=float, default=0.2, help="of a turn, about (%(default)s)")
    args = parser.parse_args(arguments)
    if min(*args.batch, args.rounds) < 1 or args.seconds <= 0.0:
        parser.error("expected numbers from 1 for --batch and --rounds, and --seconds above 0")
    return args


if __name__ == "__main__":
    sys.exit(run("race.py", lambda: main(parse())))
