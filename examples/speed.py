"""How fast are the two engines? Side by side with PyTorch and micrograd, where these are installed.

    python examples/speed.py [--rounds 15]

First `scalar` like for like, one node for each operation: (a) and (b) are programs written once over any engine of
single numbers (node_by_node.py), for a compact engine of forty lines, micrograd, and PyTorch's tensors of one number;
(c) is micrograd's own MLP class, on its Value and on ours. Then fused ops, which make a node of a whole dot product.
Then a training step of 784-128-10 in float32 on 32 images, `vector` against PyTorch, both without compiling.

Rounds alternate, so that what else the machine does falls on all alike; each turn starts with an empty garbage
collector. Figures depend on the machine, ratios less.
"""

import argparse
import gc
import random
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from importlib.util import find_spec
from itertools import islice
from statistics import median
from typing import Any

import node_by_node
import numpy as np

import scalar
import vector
from vector.datasets import Batches, fashion_mnist_sample
from vector.runtime.threads import use_threads
from viz.console import run, say

Run = Callable[[int], None]  # so many times
MOMENT = 0.05  # seconds, about, that one engine runs in a round


def vector_steps() -> Run:
    """Train `vector` on one batch after the other."""
    model = vector.nn.Sequential(
        vector.nn.Dense(784, 128, "relu", seed=0, dtype=np.float32),
        vector.nn.Dense(128, 10, seed=1, dtype=np.float32),
    )
    optimizer = vector.optim.SGD(model.parameters(), lr=0.01)
    batches = batches_forever()

    def steps(times: int) -> None:
        for images, labels in islice(batches, times):
            loss = vector.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return steps


def torch_steps(threads: int) -> Run:
    """Train PyTorch on one batch after the other, in the way its own tutorials do."""
    import torch

    model = torch.nn.Sequential(torch.nn.Linear(784, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    loss_of = torch.nn.CrossEntropyLoss()
    batches = ((torch.from_numpy(images), torch.from_numpy(labels)) for images, labels in batches_forever())

    def steps(times: int) -> None:
        torch.set_num_threads(threads)
        for images, labels in islice(batches, times):
            loss = loss_of(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return steps


def batches_forever() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """32 images (32, 784) with their labels, again and again: every engine gets the same, ready made."""
    data = fashion_mnist_sample()
    ready = [(x.reshape(-1, 784), y) for x, y in Batches(data.train_images, data.train_labels, 32, drop_last=True)]
    while True:
        yield from ready


def by_nodes(program: Callable[[Any], Callable[[], float]], node: Callable[[float], Any]) -> Run:
    """A program over any engine of single numbers, on one."""
    step = program(node)
    return lambda times: [step() for _ in range(times)] and None


def engines() -> dict[str, Callable[[float], Any]]:
    """What makes a leaf, for each engine of single numbers that is installed."""
    found: dict[str, Any] = {"scalar": scalar.Value, "compact": node_by_node.Compact}
    if find_spec("micrograd"):
        from micrograd.engine import Value

        found["micrograd"] = Value
    if find_spec("torch"):
        import torch

        found["PyTorch"] = lambda x: torch.tensor(x, dtype=torch.float64, requires_grad=True)
    return found


def micrograds_mlp(node: Callable[[float], Any]) -> Callable[[], float]:
    """Forward and backward of micrograd's own class, 2-16-16-1 over 20 points, with another Value in its place."""
    import micrograd.nn

    own, micrograd.nn.Value = micrograd.nn.Value, node  # which it makes its parameters of
    random.seed(0)
    model = micrograd.nn.MLP(2, [16, 16, 1])
    micrograd.nn.Value = own
    points = [[random.uniform(-1.0, 1.0), random.uniform(-1.0, 1.0)] for _ in range(20)]

    def step() -> float:
        loss = sum((model(point) - 1.0) ** 2 for point in points)
        model.zero_grad()
        loss.backward()
        return float(loss.data)

    return step


def fused_passes() -> Run:
    """Forward and backward of 2-16-16-1 over 20 points with the layers of `scalar`: a node for each dot product."""
    rng = np.random.default_rng(0)
    points = rng.uniform(-1.0, 1.0, (20, 2)).tolist()
    model = scalar.nn.Sequential(
        scalar.nn.Dense(2, 16, "relu", seed=0),
        scalar.nn.Dense(16, 16, "relu", seed=1),
        scalar.nn.Dense(16, 1, seed=2),
    )
    parameters = model.parameters()

    def passes(times: int) -> None:
        for _ in range(times):
            for p in parameters:
                p.grad = 0.0
            scalar.sum([model(point)[0] for point in points]).backward()

    return passes


def fused_image() -> Run:
    """Forward and backward of 784-128-10 on one image."""
    model = scalar.nn.Sequential(scalar.nn.Dense(784, 128, "relu", seed=0), scalar.nn.Dense(128, 10, seed=1))
    data, parameters = fashion_mnist_sample(), model.parameters()
    image, label = (data.test_images[0].reshape(-1) / 255.0).tolist(), int(data.test_labels[0])

    def passes(times: int) -> None:
        for _ in range(times):
            for p in parameters:
                p.grad = 0.0
            scalar.cross_entropy(model(image), label).backward()

    return passes


def per_node(rounds: int) -> dict[str, list[float]]:
    """Microseconds of forward and of backward for each of the operations in the loss of the GPT."""
    models = {"scalar": node_by_node.Trained(scalar.Value), "compact": node_by_node.Trained(node_by_node.Compact)}
    best = {name: [float("inf")] * 2 for name in models}
    for _ in range(rounds):
        for name, model in models.items():
            gc.collect()
            start = time.perf_counter()
            loss = model.loss()
            middle = time.perf_counter()
            loss.backward()
            seconds = (middle - start, time.perf_counter() - middle)
            best[name] = list(map(min, best[name], seconds))
            if name == "scalar":
                count = sum(node.op is not None for node in scalar.topological_order(loss))
            del loss
    return {name: [1e6 * seconds / count for seconds in both] for name, both in best.items()}


def memory(node: Callable[[float], Any], count: int = 10_000) -> float:
    """Bytes that a product takes after its backward pass, with its numbers."""
    x, y = node(0.5), node(1.5)
    (x * y).backward()
    tracemalloc.start()
    products = [x * y for _ in range(count)]
    for product in products:
        product.backward()
    gc.collect()
    found = tracemalloc.get_traced_memory()[0] / count - 8.0  # the list's own place
    tracemalloc.stop()
    return found


def clock(run: Run, times: int) -> float:
    gc.collect()
    start = time.perf_counter()
    run(times)
    return time.perf_counter() - start


def race(runs: dict[str, Run], rounds: int, least: int = 1) -> dict[str, list[float]]:
    """Seconds of one run in each round, the engines taking turns of at least so many runs. One BLAS thread, the faster
    number at this size."""
    times: dict[str, int] = {}
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    with use_threads(1):
        for name, run in runs.items():
            run(1)
            times[name] = max(least, round(MOMENT / clock(run, 1)))
        for _ in range(rounds):
            for name, run in runs.items():
                seconds[name].append(clock(run, times[name]) / times[name])
    return seconds


def row(title: str, cells: Iterable[str], width: int = 18) -> None:
    say(f"{title:<44}" + "".join(f"{cell:>{width}}" for cell in cells))


def show(title: str, seconds: dict[str, list[float]], unit: float, columns: Iterable[str]) -> None:
    """A row of the table: the minimum, and the median in brackets."""
    cells = {name: f"{min(times) / unit:.1f} ({median(times) / unit:.1f})" for name, times in seconds.items()}
    row(title, (cells.get(name, "-") for name in columns))


def single_numbers(rounds: int) -> None:
    """The table of the engines of single numbers, like for like."""
    sys.setrecursionlimit(100_000)  # the others recurse
    found = engines()
    row("one node for each operation", found)
    programs = {"(a) 2-16-16-1 by hand, ms": (node_by_node.network, found.keys(), rounds)}
    gpt = found.keys() - {"micrograd"}  # which has no exp and no log
    programs["(b) a step of a character GPT, ms"] = (node_by_node.gpt, gpt, max(1, rounds // 3))
    if "micrograd" in found:
        programs["(c) micrograd's own MLP class, ms"] = (micrograds_mlp, {"scalar", "micrograd"}, rounds)
    for title, (program, names, turns) in programs.items():
        runs = {name: by_nodes(program, node) for name, node in found.items() if name in names}
        show(title, race(runs, turns, least=3), 1e-3, found)
    times = per_node(rounds)
    for i, direction in enumerate(("forward", "backward")):
        cells = {name: f"{both[i]:.2f}" for name, both in times.items()}
        row(f"{direction} in (b), microseconds a node", (cells.get(name, "-") for name in found))
    seen = {name: f"{memory(node):.0f}" for name, node in found.items() if name != "PyTorch"}  # whose memory is in C++
    row("memory of a product, bytes", (seen.get(name, "-") for name in found))


def main(rounds: int) -> None:
    # First, while PyTorch's many objects are not yet there to slow down the garbage collector that others lean on.
    single_numbers(rounds)
    say()
    row("fused: one node for each dot product", ["scalar"])
    show("(a) by the layers of scalar.nn, ms", race({"scalar": fused_passes()}, rounds), 1e-3, ["scalar"])
    show("784-128-10, one image, ms", race({"scalar": fused_image()}, rounds), 1e-3, ["scalar"])
    say()
    arrays = {"vector": vector_steps()}
    if find_spec("torch"):
        arrays |= {"PyTorch 1 thread": torch_steps(1), "2 threads": torch_steps(2)}
    row("arrays", arrays)
    show("784-128-10, a step on 32 images, us", race(arrays, rounds), 1e-6, arrays)
    absent = [name for name, module in (("PyTorch", "torch"), ("micrograd", "micrograd")) if not find_spec(module)]
    if absent:
        say(f"not installed, so not raced: {', '.join(absent)}; pip install 'twograd[race]' brings them")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Race the engines against PyTorch and micrograd.")
    parser.add_argument("--rounds", type=int, default=15, help="turns that each engine takes (default: %(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(run("speed.py", lambda: main(**vars(parse()))))
