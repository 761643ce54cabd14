"""The examples run as a reader runs them, each in a process of its own, and print what they promise."""

import contextlib
import importlib
import json
import os
import re
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from example_runs import EXAMPLES, PREDICT, TRAIN, command, environment, run

import scalar
import vector
from vector.datasets import fashion_mnist_sample

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
    pattern = r"^(scalar|vector) +([\d,]+) +[\d.,]+ ms +([\d.,]+) (ms|us) +([\d.,]+) MB$"
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
    cell = r"(?: +[\d.]+ \([\d.]+\))"
    for title in ("(a) 2-16-16-1 by hand", "(b) a step of a character GPT"):
        assert re.search(rf"^{re.escape(title)}, ms{cell}{{2}}", printed, re.MULTILINE)
    for title in (
        "(a) by the layers of scalar.nn, ms",
        "784-128-10, one image, ms",
        "784-128-10, a step on 32 images, us",
    ):
        assert re.search(rf"^{re.escape(title)}{cell}", printed, re.MULTILINE)
    for direction in ("forward", "backward"):
        assert re.search(rf"^{direction} in \(b\), microseconds a node( +\d+\.\d\d){{2}}", printed, re.MULTILINE)
    (own,) = re.findall(r"^memory of a product, bytes +(\d+)", printed, re.MULTILINE)
    assert int(own) < 300


@pytest.mark.parametrize("program", ["network", "gpt"])
def test_node_by_node(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The programs that are raced give the same losses on either engine."""
    monkeypatch.syspath_prepend(EXAMPLES)
    programs = runpy.run_path(str(EXAMPLES / "node_by_node.py"))
    steps = [programs[program](node) for node in (scalar.Value, programs["Compact"])]
    losses = [[step() for _ in range(3)] for step in steps]
    assert losses[0] == pytest.approx(losses[1], rel=1e-12)
    assert program == "network" or losses[0][0] > losses[0][1] > losses[0][2]


def test_regression_comes_down_to_the_noise(tmp_path: Path) -> None:
    printed = run(tmp_path, *command("short/regression.py")).stdout
    losses = [float(x) for x in re.findall(r"on points set aside (\S+)", printed)]
    assert losses[0] > 0.1 and 0.008 < losses[-1] < 0.02


def test_a_convnet_beats_a_dense_net_of_its_size(tmp_path: Path) -> None:
    printed = run(tmp_path, *command("short/convnet.py")).stdout
    pattern = r"^(\w+) +([\d,]+) parameters   accuracy on 200 test images (\S+)$"
    dense, convolutional = re.findall(pattern, printed, re.MULTILINE)
    assert int(dense[1].replace(",", "")) > int(convolutional[1].replace(",", ""))
    assert float(convolutional[2]) > float(dense[2]) + 0.02 and float(convolutional[2]) > 0.79


def test_a_gru_learns_to_add(tmp_path: Path) -> None:
    printed = run(tmp_path, *command("short/gru.py")).stdout
    assert float(re.search(r"^on new sequences: (\S+)$", printed, re.MULTILINE)[1]) < 0.01
    for first, second, total in re.findall(r"^(\S+) \+ (\S+) = (\S+)", printed, re.MULTILINE):
        assert abs(float(first) + float(second) - float(total)) < 0.002


def test_a_layer_of_ones_own_learns(tmp_path: Path) -> None:
    printed = run(tmp_path, *command("short/own_layer.py")).stdout
    assert "agree with differences: True" in printed
    dense, near = (float(x) for x in re.findall(r"accuracy on new points (\S+)$", printed, re.MULTILINE))
    assert near > dense + 0.1 and near > 0.85


def test_a_method_of_scipys_trains(tmp_path: Path) -> None:
    pytest.importorskip("scipy")
    printed = run(tmp_path, *command("short/minimize.py")).stdout
    assert float(re.search(r"^mean squared error (\S+) after", printed)[1]) < 1e-3


def test_class_weights_find_the_rare_ones(tmp_path: Path) -> None:
    printed = run(tmp_path, *command("short/class_weights.py")).stdout
    without, weighted = ([float(x) for x in re.findall(r"([\d.]+)%", line)] for line in printed.splitlines()[2:])
    assert without[1] < 45 and weighted[1] > 65 and without[2] < weighted[2] < 15


# --- the main job ---------------------------------------------------------------------------------------------------


def test_training_prints_the_network_each_epoch_and_the_test_accuracy(trained: tuple[Path, str, str]) -> None:
    _, printed, progress = trained
    assert "101,770 parameters: 101,632 weights and 138 biases" in printed
    assert len(re.findall(r"^epoch +\d/2 +train loss .* accuracy .* test loss .* accuracy", printed, re.MULTILINE)) == 2
    assert re.fullmatch(r"test accuracy: 0\.\d{4}", printed.splitlines()[-1])
    assert progress == ""  # a log file has no use for a bar


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


@pytest.mark.parametrize("recipe", ["best", "convnet"])
def test_other_networks_are_trained_and_known_again(recipe: str, tmp_path: Path) -> None:
    printed = train(tmp_path, "--recipe", recipe, "--epochs", 2, "--out", "x").stdout
    assert ("101,770 parameters" in printed) == (recipe == "best")
    assert "in one cycle, weight decay" in printed and "labels smoothed by 0.1, images mirrored" in printed
    assert re.search(r"^test accuracy of the mean over an image and its mirror: 0\.\d{4}$", printed, re.MULTILINE)
    assert all(is_png(tmp_path / "x" / name) for name in PICTURES)
    answers = run(tmp_path, *command(PREDICT, "x/model.npz", 0, 1, "--data", "sample")).stdout
    assert answers.count("%") == 20


def test_a_model_learns_from_another(trained: tuple[Path, str, str], tmp_path: Path) -> None:
    teacher = trained[0] / "model.npz"
    printed = train(tmp_path, "--recipe", "best", "--batch-size", 20, "--teacher", teacher, "--out", "x").stdout
    assert "30 epochs" in printed and f"with the probabilities of {teacher} for labels" in printed
    images = fashion_mnist_sample().test_images
    answers = [predicted(path, images) for path in (teacher, tmp_path / "x/model.npz")]
    assert np.mean(answers[0] == answers[1]) > 0.85


def predicted(path: Path, images: np.ndarray) -> np.ndarray:
    networks = runpy.run_path(str(EXAMPLES / "fashion_mnist/models.py"))
    return networks["load_model"](path).predict(images).argmax(axis=1)


def test_looking_at_gradients_changes_no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the running statistics nor the generator of a dropout."""
    monkeypatch.syspath_prepend(EXAMPLES / "fashion_mnist")
    program = importlib.import_module("train")
    model = program.convnet()
    before = {name: x.copy() for name, x in model.state_dict().items()}
    sizes = program.gradient_sizes(model, fashion_mnist_sample())
    assert sizes.keys() == model.named().keys() and all(x > 0 for x in sizes.values())
    assert all(np.array_equal(x, before[name]) for name, x in model.state_dict().items())
    assert model.training


def test_every_setting_can_be_overruled(tmp_path: Path) -> None:
    words = "--recipe keras --epochs 1 --batch-size 50 --lr 0.02 --optimizer nesterov --seed 3 --threads 1 --out x"
    train(tmp_path, *words.split())
    settings = json.loads((tmp_path / "x/history.json").read_text())["settings"]
    assert settings == dict(
        recipe="keras", epochs=1, batch_size=50, lr=0.02, optimizer="nesterov", seed=3, threads=1, teacher=None
    )


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
            "best",
            "convnet",
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
    words += ["--checkpoint", "run.npz", "--every", "50"]
    log = tmp_path / "log"
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
            while not (tmp_path / "run.npz").exists():  # training is under way
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


@pytest.mark.skipif(os.name == "nt", reason="no terminal of one's own there")
def test_a_terminal_sees_a_progress_bar(tmp_path: Path) -> None:
    termios = importlib.import_module("termios")
    ours, theirs = importlib.import_module("pty").openpty()
    termios.tcsetwinsize(theirs, (24, 80))  # a new one has no columns
    words = command(TRAIN, "--data", "sample", "--epochs", 1, "--batch-size", 1, "--out", "x")
    seen = bytearray()
    with subprocess.Popen(words, cwd=tmp_path, env=environment(), stdout=subprocess.DEVNULL, stderr=theirs):
        os.close(theirs)
        with contextlib.suppress(OSError):  # the end of a terminal
            while piece := os.read(ours, 1 << 16):
                seen += piece
    os.close(ours)
    assert "epoch 1/1" in seen.decode() and "\r" in seen.decode()


def test_output_that_nobody_reads_stops_no_training(tmp_path: Path) -> None:
    """As after `| head`: the files are written, and there is no traceback."""
    read, write = os.pipe()
    os.close(read)
    words = command(TRAIN, "--data", "sample", "--epochs", 2, "--out", "x")
    done = subprocess.run(words, cwd=tmp_path, env=environment(), stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (done.stderr, done.returncode) == ("", 0)
    assert sorted(path.name for path in (tmp_path / "x").iterdir()) == sorted([*PICTURES, "history.json", "model.npz"])


@pytest.mark.skipif(os.name == "nt", reason="permissions and links differ")
def test_the_history_keeps_its_permissions_and_its_link(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "far.json").touch(0o600)
    (tmp_path / "x/history.json").symlink_to("../far.json")
    train(tmp_path, "--epochs", 1, "--out", "x")
    assert (tmp_path / "x/history.json").is_symlink()
    assert (tmp_path / "far.json").stat().st_mode & 0o777 == 0o600 and json.loads((tmp_path / "far.json").read_text())


# A machine without the data set, where no mirror and no apt can be reached.
OFFLINE = """
import runpy, sys
from pathlib import Path
from vector.data import download, fashion_mnist
fashion_mnist.SOURCE = fashion_mnist.SOURCE._replace(mirrors=("http://127.0.0.1:9/",))
download.ROOT = Path("nowhere")
sys.argv = sys.argv[1:]
sys.path.insert(0, sys.argv[0].rpartition("/")[0])
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def offline(folder: Path, example: str, *words: object, code: int = 0, **more: str) -> subprocess.CompletedProcess[str]:
    given = environment() | {"XDG_CACHE_HOME": str(folder / "cache"), "PATH": str(folder), "no_proxy": "*"} | more
    if "FASHION_MNIST" not in more:
        given.pop("FASHION_MNIST", None)
    command = [sys.executable, "-c", OFFLINE, str(EXAMPLES / example), *map(str, words)]
    done = subprocess.run(command, cwd=folder, env=given, capture_output=True, text=True, timeout=300)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


@pytest.mark.parametrize("cache", ["cache", "taken"])
def test_without_network_and_data_it_trains_on_the_sample_and_says_so(cache: str, tmp_path: Path) -> None:
    (tmp_path / "taken").touch()  # where the cache can be no folder
    done = offline(tmp_path, TRAIN, "--out", "x", XDG_CACHE_HOME=str(tmp_path / cache))
    lines = done.stdout.splitlines()
    said = [i for i, line in enumerate(lines) if line.startswith("ONLY A SAMPLE: ")]
    assert said == [0, len(lines) - 2] and lines[0] == lines[-2]
    for word in ("800 images", "testing on 200", "accuracy of about 0.81", "--data full"):
        assert word in lines[0]
    assert abs(float(lines[-1].removeprefix("test accuracy: ")) - 0.81) < 0.03
    history = json.loads((tmp_path / "x/history.json").read_text())
    assert (history["train_images"], history["test_images"]) == (800, 200)


def test_the_sample_takes_the_place_of_no_data_set_that_is_asked_for(tmp_path: Path) -> None:
    done = offline(tmp_path, TRAIN, "--data", "full", "--out", "x", code=1)
    assert "train.py: Fashion-MNIST is not on this machine and could not be fetched" in done.stderr
    done = offline(tmp_path, TRAIN, "--out", "x", code=1, FASHION_MNIST=str(tmp_path / "gone"))
    assert f"train.py: {tmp_path / 'gone'}: expected train-images-idx3-ubyte.gz" in done.stderr
    assert not (tmp_path / "x").exists()
    done = offline(tmp_path, TRAIN, "--data", "sample", "--epochs", 1, "--out", "x")
    assert "ONLY A SAMPLE" not in done.stdout
    done = offline(tmp_path, PREDICT, "x/model.npz", 5, code=1)
    assert "could not be fetched" in done.stderr and done.stderr.endswith(": --data sample\n")


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
    seconds = [[row.pop("seconds") for row in history["epochs"]] for history in histories]
    assert histories[0]["epochs"] == histories[1]["epochs"] and len(histories[0]["epochs"]) == 3
    for took, history in zip(seconds, histories, strict=True):  # of all epochs, also those before the resume
        assert 0 < took[0] < took[1] < took[2] <= history["seconds"]
    pictures = [(tmp_path / name / "gradients.png").read_bytes() for name in ("whole", "x")]
    assert pictures[0] == pictures[1]
    assert histories[0]["settings"] == histories[1]["settings"]
    assert (tmp_path / "x/model.npz").read_bytes() == (tmp_path / "whole/model.npz").read_bytes()
    other = train(tmp_path, *words, "--resume", "--epochs", 2, code=1)
    assert "train.py: kept/run.npz: expected a checkpoint of this run, got another" in other.stderr
    kept.write_bytes((tmp_path / "x/model.npz").read_bytes())
    other = train(tmp_path, *words, "--resume", code=1)
    assert "train.py: kept/run.npz: expected a checkpoint of a training" in other.stderr


MISTAKES = {
    "no folder with data": (["--data", "nowhere"], "train-images-idx3-ubyte"),
    "no such recipe": (["--recipe", "worst"], "invalid choice: 'worst'"),
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


def is_png(path: Path) -> bool:
    """Whether the file is a whole PNG: its signature, and the chunk that ends it."""
    content = path.read_bytes()
    return content.startswith(b"\x89PNG\r\n\x1a\n") and content.endswith(b"IEND\xaeB`\x82")
