"""Train a network, 784-128-10 unless told, on Fashion-MNIST and print its accuracy on the 10,000 test images.

python examples/fashion_mnist/train.py
python examples/fashion_mnist/train.py --recipe seed --out runs/seed
python examples/fashion_mnist/train.py --recipe best --out runs/best
python examples/fashion_mnist/train.py --recipe convnet --out runs/convnet
python examples/fashion_mnist/train.py --recipe best --teacher runs/convnet/model.npz --out runs/taught
python examples/fashion_mnist/train.py --checkpoint runs/long.npz --resume
mpiexec -n 2 python examples/fashion_mnist/train.py --mpi
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
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from models import Bent, bent, convnet, load_model, network

import vector
from vector import checkpoint, files, nn, optim
from vector.data import augment
from vector.datasets import CLASS_NAMES, FashionMNIST, fashion_mnist, fashion_mnist_sample
from vector.distributed import ALONE, Alone, Ranks
from viz.console import run, say

Row = dict[str, Any]  # of an epoch: its numbers, and the sizes of its gradients by parameter


class Recipe(NamedTuple):
    """How to train.

    schedule      of the learning rate: a name in SCHEDULES
    weight_decay  None: the optimizer's own
    smoothing     of the labels, as in `vector.cross_entropy`
    mirror        whether every other image, at random, is mirrored
    network       of what: see models.py
    """

    about: str
    optimizer: str
    lr: float
    batch_size: int
    epochs: int
    schedule: str = "constant"
    weight_decay: float | None = None
    smoothing: float = 0.0
    mirror: bool = False
    network: Callable[[int], nn.Sequential] = network


# "default" and "best" were chosen by their accuracy on 10,000 of the training images, held out, and "convnet" was the
# first that was tried: the test images had no say.
RECIPES = {
    "default": Recipe("the quickest way to 0.885 and more", "sgd", 0.3, 32, 10, "cosine"),
    "adamw": Recipe("the most accurate in few epochs", "adamw", 4e-3, 64, 10, "cosine"),
    "best": Recipe(
        "the most accurate of 101,770 parameters", "adamw", 2e-3, 128, 60, "one_cycle", 0.05, 0.1, True, bent
    ),
    "convnet": Recipe("0.93, with convolutions", "adamw", 4e-3, 128, 14, "one_cycle", 0.02, 0.1, True, convnet),
    "seed": Recipe("one image at a time, as in the library that this project tells of", "sgd", 0.003, 1, 5),
    "keras": Recipe("what Keras does by its defaults", "sgd", 0.01, 32, 5),
}
PLACES = ("data", "out", "checkpoint", "every", "resume", "mpi")  # arguments that change no number, but by rounding
OPTIMIZERS: dict[str, Callable[..., optim.Optimizer]] = {
    "sgd": optim.SGD,
    "nesterov": partial(optim.SGD, momentum=0.9, nesterov=True),
    "adam": optim.Adam,
    "adamw": optim.AdamW,
}
SCHEDULES: dict[str, Callable[[float, int], optim.Schedule]] = {  # of the largest learning rate and the steps
    "constant": lambda lr, steps: optim.constant(lr),
    "cosine": lambda lr, steps: optim.cosine(lr, steps, warmup=steps // 10),
    "one_cycle": optim.one_cycle,
}
IN_WORDS = {"constant": "", "cosine": " on a cosine", "one_cycle": " in one cycle"}


def load_data(source: str | None) -> FashionMNIST:
    """Load the data set in a folder, the `sample`, or the whole one (`full` or None), found or fetched."""
    return fashion_mnist_sample() if source == "sample" else fashion_mnist(None if source == "full" else source)


def load_data_or_sample(source: str | None) -> tuple[FashionMNIST, str]:
    """Load the data set. Where none is asked for by name and none can be had, load the sample; the text says so."""
    if source is not None or os.environ.get("FASHION_MNIST"):
        return load_data(source), ""
    try:
        return load_data(None), ""
    except OSError:
        data = fashion_mnist_sample()
        return data, (
            "ONLY A SAMPLE: Fashion-MNIST is not on this machine and could not be fetched. Training on "
            f"{len(data.train_images)} images that ship with the package and testing on {len(data.test_images)}: "
            "expect an accuracy of about 0.81; the whole set gives 0.887, and --data full says how to get it."
        )


def load_in_turn(source: str | None, ranks: Alone) -> tuple[FashionMNIST, str]:
    """Load the data set on every rank: on the first, which may fetch it, before the others."""
    loaded: list[tuple[FashionMNIST, str]] = []
    ranks.once("the data set", lambda: loaded.append(load_data_or_sample(source)))
    return loaded[0] if loaded else load_data_or_sample(source)


def describe(model: nn.Sequential) -> str:
    """The network, a layer a line, with its parameters counted."""
    if any(isinstance(layer, nn.Conv2D) for layer in model.layers):
        return f"network\n{model}"
    lines = [f"{'Flatten':<20}{'28 x 28 -> 784':<18}"]
    weights = biases = 0
    dense = [layer for layer in model.layers if isinstance(layer, nn.Dense)]
    bend = next((type(layer).__name__.lower() for layer in model.layers if isinstance(layer, Bent)), "relu")
    for layer, activation in zip(dense, (bend, "softmax"), strict=True):
        weight, bias = layer.weight.size, layer.bias.size
        lines.append(f"{f'Dense, {activation}':<20}{f'{layer.n_in} -> {layer.n_out}':<18}{weight + bias:>8,}")
        weights, biases = weights + weight, biases + bias
    total = f"{weights + biases:,} parameters: {weights:,} weights and {biases:,} biases"
    return "\n".join(["network", *(f"  {line}".rstrip() for line in lines), f"  {total}"])


def report(row: Row, epochs: int) -> str:
    return (
        f"epoch {row['epoch']:>2}/{epochs}   train loss {row['loss']:.4f} accuracy {row['accuracy']:.4f}   "
        f"test loss {row['test_loss']:.4f} accuracy {row['test_accuracy']:.4f}   {row['seconds']:5.1f} s"
    )


def gradient_sizes(model: nn.Sequential, data: FashionMNIST) -> dict[str, float]:
    """The root mean square of each parameter's gradient, by name, over the first 250 training images."""
    images = data.train_images[:250].astype(np.float32) / 255
    model.eval()
    loss = vector.cross_entropy(model(images), data.train_labels[:250])
    gradients = vector.grad(loss, model.parameters())
    model.train()
    return {name: float(np.sqrt(np.mean(g * g))) for name, g in zip(model.named(), gradients, strict=True)}


def draw_pictures(model: nn.Sequential, first: Row, history: list[Row], data: FashionMNIST, out: Path) -> list[Path]:
    """How training went, what the model says to the test images and takes for what, and what its units look for."""
    from viz import plots

    images, labels = data.test_images, data.test_labels
    probabilities = np.asarray(vector.softmax(model.predict(images), axis=-1))
    pictures = [plots.curves(history, out / "curves.png")] if history else []
    if (probabilities.argmax(1) != labels).any():
        pictures.append(plots.mistakes(images, labels, probabilities, CLASS_NAMES, out / "mistakes.png"))
    flow = [{"epoch": row["epoch"], **row["gradients"]} for row in [first, *history] if "gradients" in row]
    return [
        *pictures,
        plots.gradients(flow, out / "gradients.png"),
        plots.predictions(images[:40], labels[:40], probabilities[:40], CLASS_NAMES, out / "predictions.png"),
        plots.confusion(labels, probabilities.argmax(1), CLASS_NAMES, out / "confusion.png"),
        plots.weights(first_weights(model), out / "weights.png"),
    ]


def first_weights(model: nn.Sequential) -> np.ndarray:
    """The weights of the first layer that has any, (pixels, units)."""
    weight = model.parameters()[0].data
    return weight.reshape(-1, weight.shape[-1])


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
    say(f"going on from {args.checkpoint}, after {run['step']:,} steps")
    return list(run["history"])


def announce(args: argparse.Namespace, data: FashionMNIST, model: nn.Sequential) -> None:
    """Say what is trained, on what and how."""
    recipe = RECIPES[args.recipe]
    schedule = IN_WORDS[recipe.schedule]
    more = f", labels smoothed by {recipe.smoothing:g}" * (recipe.smoothing > 0) + ", images mirrored" * recipe.mirror
    if args.teacher:
        more = f", images and their mirrors with the probabilities of {args.teacher} for labels"
    decay = "" if recipe.weight_decay is None else f", weight decay {recipe.weight_decay:g}"
    say(f"Fashion-MNIST: {len(data.train_images):,} images to train on, {len(data.test_images):,} to test on")
    say(describe(model))
    say(
        f"recipe {args.recipe}: {args.optimizer}, learning rate {args.lr:g}{schedule}{decay}, "
        f"batches of {args.batch_size}, {args.epochs} epochs, seed {args.seed}{more}"
    )


def main(args: argparse.Namespace) -> int:
    ranks = Ranks() if args.mpi else ALONE
    if not ranks.first:
        sys.stdout = open(os.devnull, "w")
    data, warning = load_in_turn(args.data, ranks)
    if warning:
        say(warning)
    ranks.once("the folders", lambda: make_folders(args))
    model = RECIPES[args.recipe].network(args.seed)
    announce(args, data, model)
    if args.mpi:
        say("\n".join(ranks.processes))
    history = ranks.once("what is behind", lambda: behind(args))
    first = {"epoch": 0, "gradients": gradient_sizes(model, data)}  # before any step, also of a training that goes on
    start = time.perf_counter() - (history[-1].get("seconds", 0.0) if history else 0.0)

    def on_epoch(row: Row) -> None:
        row["gradients"] = gradient_sizes(model, data)  # the checkpoint keeps what is added to a row
        row["seconds"] = time.perf_counter() - start
        history.append(row)
        say(report(row, args.epochs))

    interrupted = False
    try:
        fit(args, model, data, on_epoch, ranks)
    except KeyboardInterrupt:
        if ranks.size > 1:
            raise
        interrupted = True
    if not ranks.first:
        return 0
    seconds = time.perf_counter() - start
    if interrupted:
        say(f"interrupted after {len(history)} whole epochs: keeping what is learned so far")
        if args.checkpoint and args.checkpoint.exists():
            say(f"the same command with --resume goes on from {args.checkpoint}")

    accuracy = model.evaluate(data.test_images, data.test_labels)[1]
    if RECIPES[args.recipe].mirror:
        say(f"test accuracy of the mean over an image and its mirror: {mirrored_accuracy(model, data):.4f}")
    outcome = {"interrupted": interrupted, "seconds": round(seconds, 3), "test_accuracy": accuracy}
    written = write(args, model, data, history, outcome)
    try:
        written += draw_pictures(model, first, history, data, args.out)
    except ModuleNotFoundError as problem:  # no matplotlib here: the message says how to get it
        say(f"no pictures: {problem}")
    except KeyboardInterrupt:
        interrupted = True
        say("interrupted while drawing: not all pictures are there")
    say(f"trained for {seconds:.1f} s, wrote {', '.join(map(str, written))}")
    if warning:
        say(warning)
    say(f"test accuracy: {accuracy:.4f}")
    return 130 if interrupted else 0


def make_folders(args: argparse.Namespace) -> None:
    for folder in (args.out, *([args.checkpoint.parent] if args.checkpoint else [])):
        folder.mkdir(parents=True, exist_ok=True)


def fit(
    args: argparse.Namespace, model: nn.Sequential, data: FashionMNIST, on_epoch: Callable[[Row], None], ranks: Alone
) -> None:
    """Train the model as the arguments say."""
    recipe, images, labels = RECIPES[args.recipe], data.train_images, data.train_labels
    if args.teacher:
        images, labels, recipe = *taught(images, load_model(args.teacher)), recipe._replace(smoothing=0.0, mirror=False)
    steps = args.epochs * -(-len(images) // args.batch_size)
    decay = {} if recipe.weight_decay is None else {"weight_decay": recipe.weight_decay}
    loss = partial(vector.cross_entropy, label_smoothing=recipe.smoothing) if recipe.smoothing else vector.cross_entropy
    model.fit(
        images,
        labels,
        OPTIMIZERS[args.optimizer](model.parameters(), args.lr, **decay),
        epochs=args.epochs,
        batch_size=args.batch_size,
        loss=loss,
        augment=augment.mirror() if recipe.mirror else None,
        schedule=SCHEDULES[recipe.schedule](args.lr, steps),
        seed=args.seed,
        validation=(data.test_images, data.test_labels),  # looked at after each epoch, never learned from
        on_epoch=on_epoch,
        progress=sys.stderr.isatty(),  # a log file would fill with it
        threads=args.threads,
        checkpoint=args.checkpoint,
        every=args.every,
        ranks=ranks,
    )


def taught(images: np.ndarray, teacher: nn.Sequential) -> tuple[np.ndarray, np.ndarray]:
    """The images and their mirror images, (2 n, 28, 28), and the teacher's probabilities for them, (2 n, 10): a network
    that learns these learns what looks alike, too (Hinton, Vinyals and Dean, 2015)."""
    both = np.concatenate((images, images[:, :, ::-1]))
    return both, np.asarray(vector.softmax(teacher.predict(both), axis=-1))


def mirrored_accuracy(model: nn.Sequential, data: FashionMNIST) -> float:
    """The accuracy on test images, with the mean of the probabilities for each and for its mirror image."""
    both = (model.predict(images) for images in (data.test_images, data.test_images[:, :, ::-1]))
    probabilities = sum(vector.softmax(scores, axis=-1) for scores in both)
    return float(np.mean(np.argmax(probabilities, axis=-1) == data.test_labels))


def write(
    args: argparse.Namespace, model: nn.Sequential, data: FashionMNIST, history: list[Row], outcome: dict[str, Any]
) -> list[Path]:
    """Write the model and the history, each whole or not at all. Return their paths."""
    settings = {key: value for key, value in vars(args).items() if key not in PLACES}
    images = {"train_images": len(data.train_images), "test_images": len(data.test_images)}
    content = {"settings": settings, **images, **outcome, "epochs": [finite(row) for row in history]}
    model.save(args.out / "model.npz")
    files.write(args.out / "history.json", f"{json.dumps(content, indent=2)}\n".encode())
    return [args.out / "model.npz", args.out / "history.json"]


def finite(row: Row) -> Row:
    """Put None where a number is not finite: JSON knows no nan."""
    return {key: finite(x) if isinstance(x, dict) else x if math.isfinite(x) else None for key, x in row.items()}


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
        f"  {name:<9}{r.about}:\n           {r.optimizer}, learning rate {r.lr:g}{IN_WORDS[r.schedule]}, "
        f"batches of {r.batch_size}, {r.epochs} epochs"
        for name, r in RECIPES.items()
    )
    parser = argparse.ArgumentParser(
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Train a network, of 784-128-10 units unless told, on Fashion-MNIST and test it on the 10,000 test "
        "images.\n"
        "The last line printed is the test accuracy.",
        epilog=f"recipes:\n{recipes}\n\n"
        "Ctrl-C ends the training; the model, the history and the pictures of what was learned so far are written,\n"
        "the test accuracy is printed, and the exit code is 130.\n"
        "Ctrl-C while pictures are drawn leaves the rest of them out. With several processes it ends all at once.\n\n"
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
    add("--data", metavar="FOLDER", help="folder with the four files; 'full': the whole data set, found or fetched; "
        "'sample': 1,000 images that ship with the package; without it the whole set or else the sample")  # fmt: skip
    add("--out", type=Path, metavar="FOLDER", default=Path("runs/fashion-mnist"), help="where to write model.npz, "
        "history.json and the pictures (%(default)s)")  # fmt: skip
    add("--teacher", metavar="MODEL", help="learn, in place of labels, what this model.npz of train.py says to each "
        "image and to its mirror image: twice the images an epoch, so half the epochs if not given")  # fmt: skip
    add("--threads", type=at_least(1), help="threads that share large matrix products (without it one a core); the "
        "results are the same")  # fmt: skip
    add("--checkpoint", type=Path, metavar="FILE", help="write here, after each epoch, what it takes to go on")
    add("--every", type=at_least(1), metavar="STEPS", help="write the checkpoint after so many steps, too")
    add("--resume", action="store_true", help="go on from the checkpoint, if it is there")
    add("--mpi", action="store_true", help="share each batch with the other processes that mpiexec started, with the "
        "same results but for rounding; pip install 'twograd[mpi]' brings what it takes")  # fmt: skip
    args = parser.parse_args(arguments)
    if args.checkpoint is None and (args.every or args.resume):
        parser.error("--every and --resume: expected --checkpoint FILE with them")
    for key in ("epochs", "batch_size", "lr", "optimizer"):
        if getattr(args, key) is None:
            setattr(args, key, getattr(RECIPES[args.recipe], key))
            if key == "epochs" and args.teacher:
                args.epochs = -(-args.epochs // 2)
    return args


if __name__ == "__main__":
    sys.exit(run("train.py", lambda: main(parse())))
