"""How fast are the two engines? Side by side with PyTorch and micrograd, where these are installed.

    python examples/speed.py [--rounds 15]

Forward and backward of a 2-16-16-1 network over 20 points, `scalar` against micrograd; and one step of training
784-128-10 in float32 on 32 images (forward, backward, SGD update), `vector` against PyTorch, both without compiling.
Rounds alternate, so that what else the machine does falls on both alike. Figures depend on the machine, ratios less.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from itertools import islice
from statistics import median

import numpy as np

import scalar
import vector
from vector.datasets import Batches, fashion_mnist_sample
from vector.runtime.threads import use_threads

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


POINTS = np.random.default_rng(0).uniform(-1.0, 1.0, (20, 2)).tolist()


def scalar_passes() -> Run:
    """Forward and backward of 2-16-16-1 in `scalar`."""
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
            scalar.sum([model(point)[0] for point in POINTS]).backward()

    return passes


def micrograd_passes() -> Run:
    """The same in micrograd."""
    from micrograd.nn import MLP

    model = MLP(2, [16, 16, 1])

    def passes(times: int) -> None:
        for _ in range(times):
            model.zero_grad()
            sum(model(point) for point in POINTS).backward()

    return passes


def clock(run: Run, times: int) -> float:
    start = time.perf_counter()
    run(times)
    return time.perf_counter() - start


def race(runs: dict[str, Run], rounds: int) -> dict[str, list[float]]:
    """Seconds of one run in each round, the engines taking turns. One BLAS thread, the faster number at this size."""
    times: dict[str, int] = {}
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    with use_threads(1):
        for name, run in runs.items():
            run(3)
            times[name] = max(1, round(MOMENT / (clock(run, 3) / 3)))
        for _ in range(rounds):
            for name, run in runs.items():
                seconds[name].append(clock(run, times[name]) / times[name])
    return seconds


def show(title: str, seconds: dict[str, list[float]], unit: float) -> None:
    """Minimum and median of each, and how the first compares with the best of the others."""
    print(title)
    for name, times in seconds.items():
        print(f"  {name:<28}min {min(times) / unit:8.1f}   median {median(times) / unit:8.1f}")
    own, *others = seconds.values()
    if others:
        lowest = min(map(min, others)) / min(own)
        middle = min(map(median, others)) / median(own)
        print(f"  {next(iter(seconds))} is {lowest:.2f} times as fast by minimum, {middle:.2f} by median")


def main(rounds: int) -> None:
    numbers = {"scalar": scalar_passes()}
    if find_spec("micrograd"):
        numbers["micrograd"] = micrograd_passes()
    # First, while PyTorch's many objects are not yet there to slow down the garbage collector that micrograd leans on.
    show("2-16-16-1, forward and backward over 20 points, milliseconds", race(numbers, rounds), 1e-3)
    arrays = {"vector": vector_steps()}
    if find_spec("torch"):
        arrays |= {"PyTorch, 1 thread": torch_steps(1), "PyTorch, 2 threads": torch_steps(2)}
    show("784-128-10, one step on 32 images, float32, microseconds", race(arrays, rounds), 1e-6)
    absent = [name for name, module in (("PyTorch", "torch"), ("micrograd", "micrograd")) if not find_spec(module)]
    if absent:
        print(f"not installed, so not raced: {', '.join(absent)}; pip install 'twograd[race]' brings them")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Race the engines against PyTorch and micrograd.")
    parser.add_argument("--rounds", type=int, default=15, help="turns that each engine takes (default: %(default)s)")
    main(parser.parse_args().rounds)
