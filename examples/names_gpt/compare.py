"""The same GPT on both engines: are all losses and gradients the same, and what does each engine pay for them?

    python examples/names_gpt/compare.py

From the same first weights both read the same names. Of the first name all 4,192 gradients are compared: the engines
add up in different orders, which is all that may tell them apart, and tests/support/bounds.py derives, number by number
along each engine's graph, by how much. Then both train, and their losses are compared step by step.
"""

from __future__ import annotations

import argparse
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from model import NUMBERS, TENSORS, Engine, Gpt, Sizes, first_weights, nodes
from text import NAMES, Example, Text
from train import RECIPES, optimizer_of, stepper

import vector
from vector.optim import linear
from vector.runtime.threads import use_threads
from viz.console import run, say

sys.path.append(str(Path(__file__).parents[2] / "tests/support"))
from bounds import errors, slopes

SMALL = RECIPES["small"]
APART = 1e-10  # how far losses may be apart, relative to their size, in the first hundred steps


class Cost(NamedTuple):
    """What one way to take a step costs."""

    title: str
    nodes: str
    megabytes: float  # the most held at once while a step is taken, without the weights
    microseconds: float  # of CPU time that a step takes, the least of several


def names() -> tuple[Sizes, Text]:
    """The sizes of the small model, and its text."""
    text = Text(NAMES.read_text(encoding="utf-8"), SMALL.context)
    return Sizes(len(text.alphabet), SMALL.width, SMALL.heads, SMALL.layers, SMALL.context), text


def with_errors(engine: Engine, sizes: Sizes, example: Example) -> tuple[float, float, dict[str, Any], dict[str, Any]]:
    """The loss of the first weights and its error, and all gradients and theirs, by name."""
    model = Gpt(sizes, engine, first_weights(sizes))
    loss = model.loss(*example)
    found = slopes(engine.package, loss, model.parameters)
    e = errors([loss, *found])
    gradients, bounds, left = {}, {}, iter(found)
    for name, x in model.weights.items():
        mine = [next(left) for _ in nodes(x)]
        gradients[name] = np.array([g.data for g in mine]).reshape(x.shape)
        bounds[name] = np.array([e[g] for g in mine]).reshape(x.shape)
    return float(loss.data), float(e[loss]), gradients, bounds


def compare_gradients(sizes: Sizes, example: Example) -> None:
    """Print a line for each weight. Raises ArithmeticError where the engines differ by more than rounding explains."""
    loss, e_loss, ours, e_ours = with_errors(NUMBERS, sizes, example)
    other, e_other, theirs, e_theirs = with_errors(TENSORS, sizes, example)
    if not abs(loss - other) <= e_loss + e_other:
        raise ArithmeticError(f"losses {loss!r} and {other!r} differ by more than rounding explains")
    say(f"loss: scalar {loss:.15f}\n      vector {other:.15f}   at most {e_loss + e_other:.2g} apart\n")
    say(f"{'gradients of':<14}{'how many':>10}{'largest size':>14}{'largest difference':>20}{'of its bound':>14}")
    count, largest, worst = 0, 0.0, 0.0
    for name, mine in ours.items():
        difference, bound = np.abs(mine - theirs[name]), e_ours[name] + e_theirs[name]
        if np.any(difference > bound):
            raise ArithmeticError(f"{name}: gradients differ by more than rounding explains")
        share = float(np.max(difference / np.where(bound > 0.0, bound, 1.0)))
        count, largest, worst = count + mine.size, max(largest, difference.max()), max(worst, share)
        say(f"{name:<14}{mine.size:>10,}{np.abs(mine).max():>14.3g}{difference.max():>20.3g}{share:>14.1e}")
    say(f"all {count:,} gradients agree: largest difference {largest:.3g}, at most {worst:.1e} of its bound\n")


def losses(engine: Engine, sizes: Sizes, text: Text, steps: int) -> list[float]:
    """The losses of the first steps of a training, documents padded where they go into a recording."""
    model = Gpt(sizes, engine, first_weights(sizes))
    optimizer, schedule = optimizer_of(model, SMALL.lr), linear(SMALL.lr, SMALL.steps)
    step, found = stepper(model, optimizer), []
    for number in range(steps):
        optimizer.lr = schedule(number)
        found.append(step(*text.examples(number, 1, pad=engine is TENSORS)))
    return found


def costs(sizes: Sizes, text: Text) -> list[Cost]:
    """What a step on the first name takes: on single numbers, on tensors, and on tensors, recorded."""
    plain, padded = (text.examples(0, 1, pad) for pad in (False, True))
    found = []
    for title, engine, example, times in (("scalar", NUMBERS, plain, 5), ("vector", TENSORS, plain, 300)):
        model = Gpt(sizes, engine, first_weights(sizes))
        optimizer = optimizer_of(model, SMALL.lr)
        count = len(engine.package.topological_order(nodes(model.loss(*example))[0]))
        found.append(cost(title, f"{count:,}", lambda m=model, o=optimizer, x=example: m.step(o, *x), times))
    model = Gpt(sizes, TENSORS, first_weights(sizes))
    optimizer = optimizer_of(model, SMALL.lr)
    step = vector.compile(lambda letters, targets: model.step(optimizer, letters, targets))
    step(*padded)
    calls = f"{len(step.program.calls)} calls"
    planned = cost("vector, recorded", calls, lambda: step(*padded), 2000)
    return [*found, planned._replace(megabytes=planned.megabytes + step.memory / 1e6)]


def cost(title: str, count: str, step: Callable[[], Any], times: int) -> Cost:
    """Time some steps, and trace the memory of another."""
    step()
    took = []
    for _ in range(times):
        start = time.process_time()  # nothing here waits, and what else the machine does falls on nobody
        step()
        took.append(time.process_time() - start)
    tracemalloc.start()  # a step of its own: to watch each allocation takes time
    before = tracemalloc.get_traced_memory()[0]
    step()
    megabytes = (tracemalloc.get_traced_memory()[1] - before) / 1e6
    tracemalloc.stop()
    return Cost(title, count, megabytes, min(took) * 1e6)


def main(steps: int) -> None:
    sizes, text = names()
    example = text.examples(0, 1, pad=False)
    count = sum(x.size for x in first_weights(sizes).values())
    say(f"{text.letters(example[0][0]).strip()!r} through a GPT of {count:,} parameters, float64")
    compare_gradients(sizes, example)
    slow, fast = (losses(engine, sizes, text, steps) for engine in (NUMBERS, TENSORS))
    apart = np.abs(np.subtract(slow, fast)) / np.abs(slow)
    if not apart.max() < APART:
        raise ArithmeticError(f"step {apart.argmax() + 1}: losses are {apart.max():.2g} of their size apart")
    say(f"{steps} steps: losses are at most {apart.max():.2g} of their size apart, the last {fast[-1]:.12f}\n")
    with use_threads(1):
        table = costs(sizes, text)
    say(f"{'a step':<18}{'nodes':>12}{'memory':>14}{'takes':>16}{'times as fast':>16}")
    for row in table:
        ratio = f"{table[0].microseconds / row.microseconds:,.0f}"
        say(f"{row.title:<18}{row.nodes:>12}{row.megabytes:>11.2f} MB{row.microseconds:>13,.0f} us{ratio:>16}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--steps", type=int, default=100, help="of training to compare (%(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(run("compare.py", lambda: main(**vars(parse()))))
