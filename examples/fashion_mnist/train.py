"""Train 784-128-10 on Fashion-MNIST and say how good it is on the 10,000 test images.

python examples/fashion_mnist/train.py
python examples/fashion_mnist/train.py --recipe seed --out runs/seed
python examples/fashion_mnist/train.py --checkpoint runs/long.npz --resume
python examples/fashion_mnist/train.py --help
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import vector
from vector import checkpoint, nn, optim
from vector.datasets import CLASS_NAMES, FashionMNIST, fashion_mnist, fashion_mnist_sample

Row = dict[str, float]


class Recipe(NamedTuple):
    """How to train. `cosine`: warm up for a tenth of the steps, then let the learning rate fall along a cosine to 0."""

    about: str
    optimizer: str
    lr: float
    batch_size: int
    epochs: int
    cosine: bool = False


# The default was chosen by its accuracy on 10,000 of the training images, held out: the test images had no say.
RECIPES = {
    "default": Recipe("the quickest way to 0.885 and more", "sgd", 0.3, 32, 10, cosine=True),
    "adamw": Recipe("the most accurate in few epochs", "adamw", 4e-3, 64, 10, cosine=True),
    "seed": Recipe("one image at a time, as in the library that this project tells of", "sgd", 0.003, 1, 5),
    "keras": Recipe("what Keras does by its defaults", "sgd", 0.01, 32, 5),
}
PLACES = ("data", "out", "checkpoint", "every", "resume")  # arguments that change no number
OPTIMIZERS: dict[str, Callable[[list[vector.Tensor], float], optim.Optimizer]] = {
    "sgd": optim.SGD,
    "nesterov": lambda parameters, lr: optim.SGD(parameters, lr, momentum=0.9, nesterov=True),
    "adam": optim.Adam,
    "adamw": optim.AdamW,
}


def network(seed: int = 0) -> nn.Sequential:
    """Flatten, Dense(128, relu), Dense(10), whose softmax the loss takes; glorot uniform weights, zero biases."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Dense(784, 128, "relu", seed=2 * seed, dtype=np.float32),
        nn.Dense(128, 10, seed=2 * seed + 1, dtype=np.float32),
    )


def load_data(source: str | None) -> FashionMNIST:
    """The data set in a folder, the `sample`, or (None) the whole one, found or fetched."""
    return fashion_mnist_sample() if source == "sample" else fashion_mnist(source)


def describe(model: nn.Sequential) -> str:
    """The network, a layer a line, with its parameters counted."""
    lines = [f"{'Flatten':<20}{'28 x 28 -> 784':<18}"]
    weights = biases = 0
    for layer, activation in zip(model.layers[1:], ("relu", "softmax"), strict=True):
        weight, bias = layer.weight.size, layer.bias.size
        lines.append(f"{f'Dense, {activation}':<20}{f'{layer.n_in} -> {layer.n_out}':<18}{weight + bias:>8,}")
        weights, biases = weights + weight, biases + bias
    total = f"{weights + biases:,} parameters: {weights:,} weights and {biases:,} biases"
    return "\n".join(["network", *(f"  {line}".rstrip() for line in lines), f"  {total}"])


def report(row: Row, epochs: int, seconds: float) -> str:
    return (
        f"epoch {row['epoch']:>2}/{epochs}   train loss {row['loss']:.4f} accuracy {row['accuracy']:.4f}   "
        f"test loss {row['test_loss']:.4f} accuracy {row['test_accuracy']:.4f}   {seconds:5.1f} s"
    )


def write_json(content: Any, path: Path) -> None:
    """Write the file, whole or not at all."""
    part = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        part.write_text(json.dumps(content, indent=2) + "\n")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def gradient_sizes(model: nn.Sequential, data: FashionMNIST) -> Row:
    """The root mean square of each parameter's gradient, by name, over the first 250 training images."""
    images = data.train_images[:250].astype(np.float32) / 255
    loss = vector.cross_entropy(model(images), data.train_labels[:250])
    gradients = vector.grad(loss, model.parameters())
    return {name: float(np.sqrt(np.mean(g * g))) for name, g in zip(model.named(), gradients, strict=True)}


def draw_pictures(
    model: nn.Sequential, history: list[Row], flow: list[Row], data: FashionMNIST, out: Path
) -> list[Path]:
    """How training went, what the model says to the test images and takes for what, and what its units look for."""
    from viz import plots

    images, labels = data.test_images, data.test_labels
    probabilities = np.asarray(vector.softmax(model.predict(images), axis=-1))
    pictures = [plots.curves(history, out / "curves.png")] if history else []
    if (probabilities.argmax(1) != labels).any():
        pictures.append(plots.mistakes(images, labels, probabilities, CLASS_NAMES, out / "mistakes.png"))
    return [
        *pictures,
        plots.gradients(flow or [{"epoch": len(history), **gradient_sizes(model, data)}], out / "gradients.png"),
        plots.predictions(images[:40], labels[:40], probabilities[:40], CLASS_NAMES, out / "predictions.png"),
        plots.confusion(labels, probabilities.argmax(1), CLASS_NAMES, out / "confusion.png"),
        plots.weights(model.layers[1].weight.data, out / "weights.png"),
    ]


def behind(args: argparse.Namespace) -> list[Row]:
    """The rows of the epochs that the checkpoint has behind it; says where the training starts."""
    if not args.checkpoint or not args.checkpoint.exists():
        return []
    if not args.resume:
        advice = "--resume goes on from it; to begin anew, remove it or give another path"
        raise FileExistsError(f"{args.checkpoint}: expected no checkpoint there without --resume: {advice}")
    run = checkpoint.load(args.checkpoint).get("run")
    if not isinstance(run, dict):
        raise ValueError(f"{args.checkpoint}: expected a checkpoint of a training, got another file of this program")
    print(f"going on from {args.checkpoint}, after {run['step']:,} steps", flush=True)
    return list(run["history"])


def announce(args: argparse.Namespace, data: FashionMNIST, model: nn.Sequential) -> None:
    """Say what is trained, on what and how."""
    cosine = " on a cosine" if RECIPES[args.recipe].cosine else ""
    print(f"Fashion-MNIST: {len(data.train_images):,} images to train on, {len(data.test_images):,} to test on")
    print(describe(model))
    print(
        f"recipe {args.recipe}: {args.optimizer}, learning rate {args.lr:g}{cosine}, "
        f"batches of {args.batch_size}, {args.epochs} epochs, seed {args.seed}",
        flush=True,
    )


def main(args: argparse.Namespace) -> int:
    data = load_data(args.data)
    train, test = (data.train_images, data.train_labels), (data.test_images, data.test_labels)
    for folder in (args.out, *([args.checkpoint.parent] if args.checkpoint else [])):
        folder.mkdir(parents=True, exist_ok=True)
    model = network(args.seed)
    optimizer = OPTIMIZERS[args.optimizer](model.parameters(), args.lr)
    steps = args.epochs * -(-len(data.train_images) // args.batch_size)
    schedule = optim.constant(args.lr)
    if RECIPES[args.recipe].cosine:
        schedule = optim.cosine(args.lr, steps, warmup=steps // 10)

    announce(args, data, model)
    history = behind(args)
    flow = [] if history else [{"epoch": 0, **gradient_sizes(model, data)}]
    start = time.perf_counter()

    def on_epoch(row: Row) -> None:
        history.append(row)
        flow.append({"epoch": row["epoch"], **gradient_sizes(model, data)})
        print(report(row, args.epochs, time.perf_counter() - start), flush=True)

    interrupted = False
    try:
        model.fit(
            *train,
            optimizer,
            epochs=args.epochs,
            batch_size=args.batch_size,
            schedule=schedule,
            seed=args.seed,
            validation=test,  # looked at after each epoch, never learned from
            on_epoch=on_epoch,
            progress=True,
            threads=args.threads,
            checkpoint=args.checkpoint,
            every=args.every,
        )
    except KeyboardInterrupt:
        interrupted = True
    seconds = time.perf_counter() - start
    if interrupted:
        print(f"interrupted after {len(history)} whole epochs: keeping what is learned so far")
        if args.checkpoint and args.checkpoint.exists():
            print(f"the same command with --resume goes on from {args.checkpoint}")

    accuracy = model.evaluate(*test)[1]
    settings = {key: value for key, value in vars(args).items() if key not in PLACES}
    outcome = {"interrupted": interrupted, "seconds": round(seconds, 3), "test_accuracy": accuracy}
    rows = [{key: x if math.isfinite(x) else None for key, x in row.items()} for row in history]  # JSON knows no nan
    model.save(args.out / "model.npz")
    write_json({"settings": settings, **outcome, "epochs": rows}, args.out / "history.json")
    written = [args.out / "model.npz", args.out / "history.json"]
    try:
        written += draw_pictures(model, history, flow, data, args.out)
    except ModuleNotFoundError as problem:  # no matplotlib here: the message says how to get it
        print(f"no pictures: {problem}")
    except KeyboardInterrupt:
        interrupted = True
        print("interrupted while drawing: not all pictures are there")
    print(f"trained for {seconds:.1f} s, wrote {', '.join(map(str, written))}")
    print(f"test accuracy: {accuracy:.4f}")
    return 130 if interrupted else 0


def at_least(least: int) -> Callable[[str], int]:
    def whole(text: str) -> int:
        if not text.lstrip("-").isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"expected a whole number of at least {least}, got {text!r}")
        return int(text)

    return whole


def rate(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0.0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return number


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    recipes = "\n".join(
        f"  {name:<9}{r.about}:\n           {r.optimizer}, learning rate {r.lr:g}{' on a cosine' if r.cosine else ''}, "
        f"batches of {r.batch_size}, {r.epochs} epochs"
        for name, r in RECIPES.items()
    )
    parser = argparse.ArgumentParser(
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Train a network of 784-128-10 units on Fashion-MNIST and test it on the 10,000 test images.\n"
        "The last line printed is the test accuracy.",
        epilog=f"recipes:\n{recipes}\n\n"
        "Ctrl-C ends the training; the model, the history and the pictures of what was learned so far are written,\n"
        "the test accuracy is printed, and the exit code is 130.\n"
        "Ctrl-C while pictures are drawn leaves the rest of them out.\n\n"
        "With --checkpoint, a training that was interrupted or killed can go on: the same command with --resume ends\n"
        "with the same bits as if it had never stopped. At any moment the file is a whole checkpoint, the last or the\n"
        "one before. --resume begins anew where there is no file yet; a damaged file, or one of other settings, is an\n"
        "error.",
    )

    add = parser.add_argument
    add("--recipe", choices=RECIPES, default="default", help="what the settings below are if not given (%(default)s)")
    add("--epochs", type=at_least(1), help="how often to go through the training images")
    add("--batch-size", type=at_least(1), help="images a step")
    add("--lr", type=rate, help="learning rate, with a cosine the largest")
    add("--optimizer", choices=OPTIMIZERS, help="rule that turns gradients into steps")
    add("--seed", type=at_least(0), default=0, help="of the first weights and of the order of the images (%(default)s)")
    add("--data", metavar="FOLDER", help="folder with the four files, or 'sample': 1,000 images that come with the "
        "package; without it the data set is looked for, and fetched if need be")  # fmt: skip
    add("--out", type=Path, metavar="FOLDER", default=Path("runs/fashion-mnist"), help="where to write model.npz, "
        "history.json and the pictures (%(default)s)")  # fmt: skip
    add("--threads", type=at_least(1), help="threads that share large matrix products (without it one a core); the "
        "results are the same")  # fmt: skip
    add("--checkpoint", type=Path, metavar="FILE", help="write here, after each epoch, what it takes to go on")
    add("--every", type=at_least(1), metavar="STEPS", help="write the checkpoint after so many steps, too")
    add("--resume", action="store_true", help="go on from the checkpoint, if it is there")
    args = parser.parse_args(arguments)
    if args.checkpoint is None and (args.every or args.resume):
        parser.error("--every and --resume: expected --checkpoint FILE with them")
    for key in ("epochs", "batch_size", "lr", "optimizer"):
        if getattr(args, key) is None:
            setattr(args, key, getattr(RECIPES[args.recipe], key))
    return args


if __name__ == "__main__":
    try:
        sys.exit(main(parse()))
    except (OSError, ValueError, FloatingPointError) as problem:  # no data, no room, a loss of nan: it says what to do
        sys.exit(f"train.py: {problem}")
    except KeyboardInterrupt:  # outside of training there is nothing to keep
        sys.exit(130)
