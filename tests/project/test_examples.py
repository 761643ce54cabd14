"""The examples run as a reader runs them, each in a process of its own, and print what they promise."""

import importlib
import json
import os
import re
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fuzz import png

import vector
from vector.datasets import CLASS_NAMES, fashion_mnist_sample

EXAMPLES = Path(__file__).parents[2] / "examples"
TRAIN, PREDICT = "fashion_mnist/train.py", "fashion_mnist/predict.py"
PICTURES = ["curves.png", "mistakes.png", "gradients.png", "predictions.png", "confusion.png", "weights.png"]
# What a user who never installed matplotlib sees: a finder that turns it away.
WITHOUT_MATPLOTLIB = """
import sys, runpy

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "matplotlib":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
sys.argv = sys.argv[1:]
sys.path.insert(0, sys.argv[0].rpartition("/")[0])
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def command(example: str, *arguments: object) -> list[str]:
    return [sys.executable, str(EXAMPLES / example), *map(str, arguments)]


def environment() -> dict[str, str]:
    paths = [str(EXAMPLES.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONUTF8": "1"}


def run(folder: Path, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(words, cwd=folder, env=environment(), capture_output=True, text=True, timeout=300)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done


def train(folder: Path, *arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    return run(folder, *command(TRAIN, "--data", "sample", *arguments), code=code)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """A folder in which the default recipe was followed for two epochs, and what was printed."""
    folder = tmp_path_factory.mktemp("trained")
    done = train(folder, "--epochs", 2, "--out", "here")
    return folder / "here", done.stdout, done.stderr


# --- the small ones -------------------------------------------------------------------------------------------------


def test_tiny_expression(tmp_path: Path) -> None:
    printed = run(tmp_path, *command("tiny_expression.py", "tiny.svg")).stdout
    assert "tanh(a * b + c) = 0.4621" in printed
    assert [float(x) for x in re.findall(r"d out / d \w = +(\S+)", printed)] == [-2.3593, 1.5729, 0.7864]
    assert "<svg" in (tmp_path / "tiny.svg").read_text()


def test_moons(tmp_path: Path) -> None:
    printed = run(tmp_path, *command("moons.py", "--steps", 12, "--out", "moons.png")).stdout
    losses = [float(x) for x in re.findall(r"loss (\S+)", printed)]
    assert losses[-1] < losses[0] / 2
    assert is_png(tmp_path / "moons.png")


def test_compare_engines(tmp_path: Path) -> None:
    printed = run(tmp_path, *command("compare_engines.py")).stdout
    assert "all 101,770 gradients agree" in printed
    pattern = r"^(scalar|vector) +([\d,]+) +[\d.]+ ms +([\d.,]+) (ms|us) +([\d.,]+) MB$"
    slow, fast = re.findall(pattern, printed, re.MULTILINE)
    assert int(slow[1].replace(",", "")) > 101_770 > int(fast[1])
    assert slow[3] == "ms" and float(slow[2].replace(",", "")) < 1500
    assert float(slow[4]) < 250


def test_the_bounds_on_the_engines_leave_no_room_for_a_wrong_rule() -> None:
    """A derivative that is off by a part in ten thousand millions would not pass for rounding."""
    compare = runpy.run_path(str(EXAMPLES / "compare_engines.py"))
    data = fashion_mnist_sample()
    x, label = data.test_images[0].reshape(-1) / 255.0, int(data.test_labels[0])
    model = compare["measure"](vector, compare["vector_network"], x, label, repeats=1)[0]
    gradients = compare["vector_gradients"](model)
    for name, bound in compare["bounds"](x, label, model.state_dict()).items():
        assert bound.shape == gradients[name].shape
        assert bound.max() < 1e-10 * np.abs(gradients[name]).max()
        assert not bound[gradients[name] == 0].any()


def test_speed(tmp_path: Path) -> None:
    printed = run(tmp_path, *command("speed.py", "--rounds", 1)).stdout
    for name in ("scalar", "vector"):
        assert re.search(rf"^  {name} +min +[\d.]+ +median +[\d.]+$", printed, re.MULTILINE)


# --- the main job ---------------------------------------------------------------------------------------------------


def test_training_prints_the_network_each_epoch_and_the_test_accuracy(trained: tuple[Path, str, str]) -> None:
    _, printed, progress = trained
    assert "101,770 parameters: 101,632 weights and 138 biases" in printed
    assert len(re.findall(r"^epoch +\d/2 +train loss .* accuracy .* test loss .* accuracy", printed, re.MULTILINE)) == 2
    assert re.fullmatch(r"test accuracy: 0\.\d{4}", printed.splitlines()[-1])
    assert "epoch 1/2" in progress


def test_training_writes_model_history_and_pictures(trained: tuple[Path, str, str]) -> None:
    out, printed, _ = trained
    assert sorted(path.name for path in out.iterdir()) == sorted([*PICTURES, "history.json", "model.npz"])
    assert all(is_png(out / name) for name in PICTURES)
    history = json.loads((out / "history.json").read_text())
    assert [row["epoch"] for row in history["epochs"]] == [1, 2]
    assert history["epochs"][-1]["test_accuracy"] == history["test_accuracy"] > 0.4
    assert f"{history['test_accuracy']:.4f}" == printed.split()[-1]
    assert history["settings"]["batch_size"] == 32 and not history["interrupted"]


def test_the_same_seed_gives_the_same_model(trained: tuple[Path, str, str], tmp_path: Path) -> None:
    train(tmp_path, "--epochs", 2, "--out", "again")
    first, again = np.load(trained[0] / "model.npz"), np.load(tmp_path / "again/model.npz")
    assert all(np.array_equal(first[name], again[name]) for name in first.files)


def test_the_seed_recipe_takes_one_image_at_a_time(tmp_path: Path) -> None:
    assert (
        "sgd, learning rate 0.003, batches of 1, 1 epochs" in train(tmp_path, "--recipe", "seed", "--epochs", 1).stdout
    )
    assert (tmp_path / "runs/fashion-mnist/model.npz").exists()


def test_every_setting_can_be_overruled(tmp_path: Path) -> None:
    words = "--recipe keras --epochs 1 --batch-size 50 --lr 0.02 --optimizer nesterov --seed 3 --threads 1 --out x"
    train(tmp_path, *words.split())
    settings = json.loads((tmp_path / "x/history.json").read_text())["settings"]
    assert settings == dict(recipe="keras", epochs=1, batch_size=50, lr=0.02, optimizer="nesterov", seed=3, threads=1)


def test_a_training_that_diverges_is_told_as_it_is(tmp_path: Path) -> None:
    done = train(tmp_path, "--recipe", "keras", "--lr", "1e30", "--epochs", 1, "--out", "x", code=1)
    assert re.search(r"^train.py: fit: the loss is nan at epoch 1, batch \d+; try a smaller", done.stderr, re.MULTILINE)
    assert not list((tmp_path / "x").iterdir())


def test_help_explains_the_recipes(tmp_path: Path) -> None:
    printed = run(tmp_path, *command(TRAIN, "--help")).stdout
    assert all(
        name in printed
        for name in (
            "default",
            "seed",
            "keras",
            "Ctrl-C",
            "--threads",
            "--checkpoint FILE",
            "--every STEPS",
            "--resume",
        )
    )


def test_training_without_matplotlib_says_how_to_get_the_pictures(tmp_path: Path) -> None:
    words = ["--data", "sample", "--epochs", "1", "--out", "x"]
    printed = run(tmp_path, sys.executable, "-c", WITHOUT_MATPLOTLIB, str(EXAMPLES / TRAIN), *words).stdout
    assert "pip install 'twograd[see]'" in printed
    assert printed.splitlines()[-1].startswith("test accuracy: 0.")
    assert sorted(path.name for path in (tmp_path / "x").iterdir()) == ["history.json", "model.npz"]


@pytest.mark.skipif(os.name == "nt", reason="no SIGINT to send to another process")
@pytest.mark.parametrize("moment", ["recipe", "epoch  2/"])
def test_ctrl_c_ends_the_training_with_what_it_has(moment: str, tmp_path: Path) -> None:
    words = command(TRAIN, "--data", "sample", "--epochs", 99, "--batch-size", 1, "--out", "x")
    log = tmp_path / "progress"
    with (
        log.open("w") as stderr,
        subprocess.Popen(
            words,
            cwd=tmp_path,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # who runs the tests may ignore it
        ) as process,
    ):
        try:
            printed = ""
            while moment not in printed:
                printed += process.stdout.readline()
                assert process.poll() is None, printed
            while not log.stat().st_size:  # the progress bar: training is under way
                time.sleep(0.01)
            process.send_signal(signal.SIGINT)
            printed += process.communicate(timeout=60)[0]
        finally:
            process.kill()
    assert process.returncode == 130
    assert "Traceback" not in log.read_text()
    assert re.fullmatch(r"test accuracy: 0\.\d{4}", printed.splitlines()[-1])
    history = json.loads((tmp_path / "x/history.json").read_text())
    assert history["interrupted"] and len(history["epochs"]) == printed.count("\nepoch") < 99
    pictures = PICTURES if history["epochs"] else PICTURES[1:]  # no curves of no epoch
    assert sorted(path.name for path in (tmp_path / "x").iterdir()) == sorted([*pictures, "history.json", "model.npz"])
    assert all(is_png(tmp_path / "x" / name) for name in pictures)
    run(tmp_path, *command(PREDICT, "x/model.npz", "0", "--data", "sample"))


@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL")
def test_a_training_that_was_killed_is_resumed_to_the_same_model_and_history(tmp_path: Path) -> None:
    words = ["--epochs", 3, "--batch-size", 2, "--out", "x"]
    train(tmp_path, *words[:-1], "whole")
    words += ["--checkpoint", "kept/run.npz", "--every", 3]
    kept = tmp_path / "kept/run.npz"
    with subprocess.Popen(command(TRAIN, "--data", "sample", *words), cwd=tmp_path, env=environment(),
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:  # fmt: skip
        while process.poll() is None and not (kept.exists() and vector.checkpoint.load(kept)["run"]["history"]):
            time.sleep(0.01)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    refused = train(tmp_path, *words, code=1)
    assert "train.py: kept/run.npz: expected no checkpoint there without --resume: " in refused.stderr
    printed = train(tmp_path, *words, "--resume").stdout
    assert re.search(r"^going on from kept/run\.npz, after [\d,]+ steps$", printed, re.MULTILINE)
    histories = [json.loads((tmp_path / name / "history.json").read_text()) for name in ("whole", "x")]
    assert histories[0]["epochs"] == histories[1]["epochs"] and len(histories[0]["epochs"]) == 3
    assert histories[0]["settings"] == histories[1]["settings"]
    assert (tmp_path / "x/model.npz").read_bytes() == (tmp_path / "whole/model.npz").read_bytes()
    other = train(tmp_path, *words, "--resume", "--epochs", 2, code=1)
    assert "train.py: kept/run.npz: expected a checkpoint of this run, got another" in other.stderr
    kept.write_bytes((tmp_path / "x/model.npz").read_bytes())
    other = train(tmp_path, *words, "--resume", code=1)
    assert "train.py: kept/run.npz: expected a checkpoint of a training" in other.stderr


MISTAKES = {
    "no folder with data": (["--data", "nowhere"], "train-images-idx3-ubyte"),
    "no such recipe": (["--recipe", "best"], "invalid choice: 'best'"),
    "no epochs": (["--epochs", "0"], "argument --epochs: expected a whole number of at least 1, got '0'"),
    "a learning rate that is none": (["--lr", "nan"], "argument --lr: expected a number above 0, got 'nan'"),
    "a negative seed": (["--seed=-1"], "argument --seed: expected a whole number of at least 0, got '-1'"),
    "no checkpoint to resume": (["--resume"], "--every and --resume: expected --checkpoint FILE with them"),
    "no steps": (["--checkpoint", "x", "--every", "0"], "argument --every: expected a whole number of at least 1"),
    "a file in the way": (["--data", "sample", "--out", "taken"], "taken"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_named(mistake: str, tmp_path: Path) -> None:
    arguments, said = MISTAKES[mistake]
    (tmp_path / "taken").touch()
    done = subprocess.run(
        command(TRAIN, *arguments), cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=60
    )
    assert done.returncode in (1, 2)
    assert said in done.stderr and "Traceback" not in done.stderr


# --- prediction -----------------------------------------------------------------------------------------------------


def test_predicting_a_test_image_and_the_same_image_as_png(trained: tuple[Path, str, str], tmp_path: Path) -> None:
    """The file may be as it is, dark on light, in colour with opacity, or larger: the answer is the same."""
    data = fashion_mnist_sample()
    image = data.test_images[5]
    write_png(tmp_path / "same.png", image)
    write_png(tmp_path / "dark.png", 255 - image)
    write_png(tmp_path / "clear.png", np.dstack([np.zeros_like(image)] * 3 + [image]))
    write_png(tmp_path / "large.png", image.repeat(4, 0).repeat(4, 1))
    names = ["same.png", "dark.png", "clear.png", "large.png"]
    printed = run(tmp_path, *command(PREDICT, trained[0] / "model.npz", 5, *names, "--data", "sample")).stdout
    answers = re.split(r"^(?=\S)", printed, flags=re.MULTILINE)[1:]
    titles, tables = zip(*(answer.split("\n", 1) for answer in answers), strict=True)
    assert titles == (f"test image 5, {CLASS_NAMES[data.test_labels[5]]}", *names)
    assert len(set(tables)) == 1
    shares = [float(x) for x in re.findall(r"([\d.]+)%", tables[0])]
    assert len(shares) == 10 and shares == sorted(shares, reverse=True) and abs(sum(shares) - 100) < 1


@pytest.fixture
def read_image(monkeypatch: pytest.MonkeyPatch) -> Callable[..., np.ndarray]:
    monkeypatch.syspath_prepend(EXAMPLES / "fashion_mnist")
    return importlib.import_module("predict").read_image


def test_every_kind_of_grey_is_the_same_grey(tmp_path: Path, read_image: Callable[..., np.ndarray]) -> None:
    """Of 1, 2, 4, 8 and 16 bits; a palette; with a transparent colour: white counts as 1 and black as 0."""
    stripes = np.arange(28) % 2
    palette, clear_white = (b"PLTE", bytes(3) + b"\xff" * 3), (b"tRNS", b"\0\xff")
    greys = [(1, 0), (2, 0), (4, 0), (8, 0), (16, 0), (8, 3, palette), (8, 0, clear_white)]
    for bits, colour, *more in greys:
        value = 1 if colour == 3 else 2**bits - 1
        row = np.packbits([int(bit) for x in stripes for bit in f"{value * x:0{bits}b}"]).tobytes()
        path = tmp_path / f"{bits}-{colour}-{len(more)}.png"
        path.write_bytes(png(28, 28, bits, colour, *more, rows=(b"\0" + row) * 28))
        np.testing.assert_array_equal(read_image(path, False), np.tile(stripes, (28, 1)), str(path))
    ramp = (np.arange(28) * 77).astype(">u2")
    (tmp_path / "dark.png").write_bytes(png(28, 28, 16, 0, rows=(b"\0" + ramp.tobytes()) * 28))
    np.testing.assert_array_equal(read_image(tmp_path / "dark.png", False)[5], (ramp / 65535).astype(np.float32))


def test_an_image_is_put_in_the_middle_of_a_square(tmp_path: Path, read_image: Callable[..., np.ndarray]) -> None:
    write_png(tmp_path / "wide.png", np.tile(np.uint8([0, 255, 255, 0]), (2, 1)).repeat(14, 0).repeat(14, 1))
    seen = read_image(tmp_path / "wide.png", False)
    rim = seen[0, 0]
    assert seen.shape == (28, 28) and 0 < rim < 1
    np.testing.assert_allclose(seen[[0, 6, 21, 27]], rim, rtol=1e-6)
    np.testing.assert_array_equal(seen[7:21], np.tile(np.float32([0, 1, 1, 0]).repeat(7), (14, 1)))


WRONG_INPUTS = {
    "no model": (["nothing.npz", "0"], "nothing.npz"),
    "no model but text": (["text.png", "0"], "text.png: expected a model saved as .npz"),
    "another model": (["other.npz", "0"], "load_state_dict: expected the names"),
    "no image": (["{model}", "nothing.png"], "nothing.png: expected a PNG file or the number of a test image"),
    "no image but text": (["{model}", "text.png"], "text.png: expected a PNG file of up to 2,048 pixels a side, got"),
    "too large an image": (["{model}", "wide.png"], "got something else (2,049 x 1)"),
    "number too large": (["{model}", "200"], "test image 200: expected a number from 0 to 199"),
    "number below 0": (["{model}", "--", "-1"], "test image -1: expected a number from 0 to 199"),
}


@pytest.mark.parametrize("wrong", WRONG_INPUTS)
def test_wrong_inputs_are_named(wrong: str, trained: tuple[Path, str, str], tmp_path: Path) -> None:
    arguments, said = WRONG_INPUTS[wrong]
    (tmp_path / "text.png").write_text("no picture")
    write_png(tmp_path / "wide.png", np.zeros((1, 2049), np.uint8))
    np.savez(tmp_path / "other.npz", weight=np.zeros(3))
    arguments = [argument.format(model=trained[0] / "model.npz") for argument in arguments]
    done = run(tmp_path, *command(PREDICT, "--data", "sample", *arguments), code=1)
    assert done.stderr.startswith("predict.py: ") and said in done.stderr


def is_png(path: Path) -> bool:
    """Whether the file is a whole PNG: its signature, and the chunk that ends it."""
    content = path.read_bytes()
    return content.startswith(b"\x89PNG\r\n\x1a\n") and content.endswith(b"IEND\xaeB`\x82")


def write_png(path: Path, pixels: np.ndarray) -> None:
    """Grey (height, width) or colour with opacity (height, width, 4), uint8."""
    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    path.write_bytes(png(width, height, 8, 0 if pixels.ndim == 2 else 6, rows=rows))
