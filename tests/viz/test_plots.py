"""The plots: what is drawn, whole files, untouched settings, and errors that say what to do."""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from viz import plots
from viz.axes import log_ticks, short_number

matplotlib = pytest.importorskip("matplotlib")
NAMES = ("cat", "dog", "bird")
HISTORY = [
    {"epoch": 1, "loss": 0.6, "accuracy": 0.80, "test_loss": 0.50, "test_accuracy": 0.8421},
    {"epoch": 2, "loss": 0.4, "accuracy": 0.86, "test_loss": 0.41, "test_accuracy": 0.8623},
]
FLOW = [
    {"epoch": 0, "0.weight": 3e-3, "0.bias": 4e-3, "1.weight": 7e-2},
    {"epoch": 1, "0.weight": 1e-3, "0.bias": 2e-3, "1.weight": 4e-2},
]
LABELS, PREDICTED = np.array([0, 0, 0, 0, 1, 1, 2, 2]), np.array([0, 0, 0, 1, 1, 1, 2, 0])
IMAGES = np.random.default_rng(0).integers(0, 256, (8, 28, 28), np.uint8)
PROBABILITIES = np.eye(3)[PREDICTED] * 0.7 + 0.1
LINES = [
    SimpleNamespace(text="np.dot(x, w, out=t)", seconds=3e-6, kind="matrix products"),
    SimpleNamespace(text="np.exp(t, out=t)", seconds=1e-6, kind="element by element"),
    SimpleNamespace(text="t_2 = picked(t, y)", seconds=5e-7, kind="other calls"),
    SimpleNamespace(text="np.add(t, b, out=t)", seconds=5e-7, kind="element by element"),
]
POINTS = np.array([[0.0, 0.0], [1.0, 1.0], [2.0, -1.0]])


def above(points: np.ndarray) -> np.ndarray:
    return points[:, 1] - 0.5


DRAWN: dict[str, Callable[[Path], Path]] = {
    "boundary": lambda path: plots.boundary(above, POINTS, [-1, 1, 1], path),
    "confusion": lambda path: plots.confusion(LABELS, PREDICTED, NAMES, path),
    "curves": lambda path: plots.curves(HISTORY, path),
    "gradients": lambda path: plots.gradients(FLOW, path),
    "learning_rates": lambda path: plots.learning_rates(np.geomspace(1e-4, 1.0, 9), [3, 3, 2, 2, 1, 1, 2, 4, 9], path),
    "mistakes": lambda path: plots.mistakes(IMAGES, LABELS, PROBABILITIES, NAMES, path),
    "predictions": lambda path: plots.predictions(IMAGES, LABELS, PROBABILITIES, NAMES, path),
    "profile": lambda path: plots.profile(LINES, path, most=2),
    "weights": lambda path: plots.weights(np.random.default_rng(0).normal(size=(49, 20)), path),
}
WRITTEN = {  # what can be read in the picture
    "boundary": ["Decision boundary: 2 of 3 points right"],
    "confusion": ["6 of 8 right (75.00%)", "taken for", *NAMES, "75", "25", "100", "50"],
    "curves": ["train 0.4000", "test 0.4100", "train 0.8600", "test 0.8623", "epoch"],
    "gradients": ["Gradient flow", "hidden weights 0.001", "hidden biases 0.002", "output weights 0.04", "epoch"],
    "learning_rates": ["Loss at growing learning rates", "learning rate", "loss"],
    "mistakes": ["The surest of 2 mistakes", "✗ dog 80%", "is cat", "✗ cat 80%", "is bird"],
    "predictions": ["6 of 8 right", "cat 80%", "✗ dog 80%", "is cat", "✗ cat 80%", "is bird"],
    "profile": ["A step of 5 microseconds", "0  np.dot(x, w, out=t)", "3.0  60%", "2 other lines", "1.0  20%"],
    "weights": ["What 20 hidden units look for"],
}


def test_every_plot_is_tried() -> None:
    assert sorted(DRAWN) == sorted(WRITTEN) == plots.__all__


@pytest.mark.parametrize("name", DRAWN)
def test_what_is_written_can_be_read(name: str, tmp_path: Path) -> None:
    with matplotlib.rc_context({"svg.fonttype": "none"}):  # letters stay letters
        path = DRAWN[name](tmp_path / "picture.svg")
    picture = path.read_text()
    for text in WRITTEN[name]:
        assert text in picture


def settings() -> dict[str, object]:
    """matplotlib's settings, and whether its windows were ever asked for (which reading "backend" would do)."""
    windows = {"windows": "matplotlib.pyplot" in sys.modules}
    return {key: matplotlib.rcParams[key] for key in matplotlib.rcParams if key != "backend"} | windows


@pytest.mark.parametrize("name", DRAWN)
def test_a_picture_is_drawn_alone(name: str, tmp_path: Path) -> None:
    """One whole PNG, no other file, no setting changed, no window."""
    before = settings()
    assert DRAWN[name](tmp_path / "picture.png") == tmp_path / "picture.png"
    assert [path.name for path in tmp_path.iterdir()] == ["picture.png"]
    pixels = matplotlib.image.imread(tmp_path / "picture.png")
    assert pixels.shape[2] == 4 and len(np.unique(pixels.reshape(-1, 4), axis=0)) > 20
    assert settings() == before


@pytest.mark.parametrize("name", DRAWN)
def test_without_matplotlib_the_error_says_how_to_get_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'twograd\[see\]'"):
        DRAWN[name](tmp_path / "picture.png")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", DRAWN)
def test_other_formats_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected a path that ends in \.png, \.svg or \.pdf, got .*picture\.gif"):
        DRAWN[name](tmp_path / "picture.gif")


def test_a_failed_write_leaves_the_old_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = DRAWN["curves"](tmp_path / "picture.png")
    before = path.read_bytes()

    def fail(self: Path, target: Path) -> None:
        raise OSError("no room")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="no room"):
        DRAWN["confusion"](path)
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def test_curves_of_one_epoch_without_a_test_set(tmp_path: Path) -> None:
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        picture = plots.curves([{"epoch": 1, "loss": 0.6, "accuracy": 0.8}], tmp_path / "c.svg").read_text()
    assert "train 0.6000" in picture and "test" not in picture


def test_curves_of_a_training_that_went_wrong(tmp_path: Path) -> None:
    bad = dict.fromkeys(("loss", "test_loss"), float("nan"))
    assert plots.curves([*HISTORY, HISTORY[1] | bad | {"epoch": 3}], tmp_path / "c.png").exists()


def test_gradients_that_are_none_or_no_numbers(tmp_path: Path) -> None:
    bad = {"epoch": 2, "0.weight": 0.0, "0.bias": float("nan"), "1.weight": float("inf")}
    assert plots.gradients([*FLOW, bad], tmp_path / "g.png").exists()
    assert plots.gradients([bad], tmp_path / "h.png").exists()


def test_the_surest_mistakes_come_first(tmp_path: Path) -> None:
    sure = np.array([[0.1, 0.6, 0.3], [0.9, 0.05, 0.05], [0.1, 0.1, 0.8]])
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        path = plots.mistakes(IMAGES[:3], np.array([0, 0, 1]), sure, NAMES, tmp_path / "m.svg")
    assert re.findall("✗ [a-z]+ [0-9]+%", path.read_text()) == ["✗ bird 80%", "✗ dog 60%"]


def test_lines_of_text_do_not_touch() -> None:
    assert plots.apart([1.0, 5.0], 2.0) == [1.0, 5.0]
    assert plots.apart([4.0, 3.0], 2.0) == [4.5, 2.5]
    low, middle, high = sorted(plots.apart([1.0, 1.0, 1.5], 1.0))
    assert middle - low >= 0.99 and high - middle >= 0.99


CLASS_NUMBERS: dict[str, Callable[[np.ndarray, list[str], Path], Path]] = {
    "confusion, labels": lambda y, names, path: plots.confusion(y, np.zeros_like(y, int), names, path),
    "confusion, predicted": lambda y, names, path: plots.confusion(np.zeros_like(y, int), y, names, path),
    "predictions": lambda y, names, path: plots.predictions(
        IMAGES[: len(y)], y, np.eye(len(y), len(names)), names, path
    ),
    "mistakes": lambda y, names, path: plots.mistakes(IMAGES[: len(y)], y, np.eye(len(y), len(names)), names, path),
}


@pytest.mark.parametrize("name", CLASS_NUMBERS)
def test_class_numbers_are_indices_of_the_names(name: str, tmp_path: Path) -> None:
    """-1 is not the last class, 26 letters are numbered from 0, and a number with a fraction is none."""
    draw, letters = CLASS_NUMBERS[name], [chr(97 + i) for i in range(26)]
    assert draw(np.array([2, 0, 25, 1]), letters, tmp_path / "right.png").exists()
    wrong = [
        ([2, -1, 2, -1], "got -1 to 2$"),
        ([1, 26, 4, 3], "got 1 to 26: subtract 1 from numbers that count from 1"),
        ([1, 27, 4, 3], "got 1 to 27$"),
        ([0.0, 1.0, 2.0, 0.0], "got float64"),
        ([True, False, True, False], "got bool"),
    ]
    for numbers, said in wrong:
        with pytest.raises(ValueError, match=f"^[a-z]+: expected class numbers from 0 to 25 for 26 names, {said}"):
            draw(np.array(numbers), letters, tmp_path / "wrong.png")
    assert not (tmp_path / "wrong.png").exists()


@pytest.mark.parametrize(
    ("draw", "said"),
    [
        (lambda path: plots.gradients([], path), "gradients: expected at least one epoch"),
        (lambda path: plots.mistakes(IMAGES, PREDICTED, PROBABILITIES, NAMES, path), "at least one wrong prediction"),
        (
            lambda path: plots.mistakes(IMAGES, LABELS, PROBABILITIES[:, :2], NAMES, path),
            "mistakes: .*got .* and .8, 2.",
        ),
        (lambda path: plots.curves([], path), "curves: expected at least one epoch"),
        (lambda path: plots.predictions(IMAGES, LABELS[:3], PROBABILITIES, NAMES, path), "labels of shape"),
        (lambda path: plots.predictions(IMAGES, LABELS, PROBABILITIES[:, :2], NAMES, path), "got .* and .8, 2."),
        (lambda path: plots.confusion(LABELS, PREDICTED[:3], NAMES, path), "as many predictions as labels"),
        (lambda path: plots.weights(np.zeros((50, 3)), path), "expected a matrix of shape .side . side, units."),
        (lambda path: plots.boundary(above, np.zeros((3, 3)), LABELS[:3], path), "points of shape .n, 2."),
    ],
)
def test_mistakes_are_named(draw: Callable[[Path], Path], said: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=said):
        draw(tmp_path / "picture.png")


def test_a_last_row_that_is_not_full_is_left_empty(tmp_path: Path) -> None:
    """Nine images make a row of eight and a row of one: there is nothing in the other seven places."""
    nine = np.arange(9) % 8
    path = plots.predictions(IMAGES[nine], LABELS[nine], PROBABILITIES[nine], NAMES, tmp_path / "nine.png")
    picture = matplotlib.image.imread(path)
    height, width = picture.shape[:2]
    corner = picture[int(height * 0.6) : int(height * 0.95), int(width * 0.2) : int(width * 0.95)]
    assert np.ptp(corner.reshape(-1, corner.shape[-1]), axis=0).max() == 0.0


def test_curves_of_other_tasks(tmp_path: Path) -> None:
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        rows = [{"epoch": 1, "loss": 0.5, "error": 0.25, "test_error": 0.125}]
        text = plots.curves(rows, tmp_path / "c.svg").read_text()
        assert "test 0.1250" in text and "accuracy" not in text
        assert "accuracy" not in plots.curves([{"epoch": 1, "loss": 0.5}], tmp_path / "d.svg").read_text()


def test_rates_without_losses(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected as many losses as rates, at least 1, got 1, 2"):
        plots.learning_rates([0.1, 0.2], [1.0], tmp_path / "r.png")


def test_a_profile_without_lines(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected at least one row, and most from 1, got 0 and 24"):
        plots.profile([], tmp_path / "p.png")


def written(draw: Callable[[Path], Path], folder: Path) -> str:
    """The SVG of a plot, its letters as letters."""
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        return draw(folder / "picture.svg").read_text()


def texts(picture: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", picture)


def test_a_dead_layer_is_zero_on_a_line_of_its_own(tmp_path: Path) -> None:
    """Its sizes are numbers, and their names do not lie on each other."""
    rows = [{"epoch": e, "0.weight": 0.0, "0.bias": 0.0, "1.weight": 0.01, "1.bias": 0.02} for e in range(3)]
    picture = written(lambda path: plots.gradients(rows, path), tmp_path)
    assert {"hidden weights 0", "hidden biases 0", "output weights 0.01", "0"} <= {
        text.strip() for text in texts(picture)
    }
    assert "nan" not in picture
    heights = [float(y) for y in re.findall(r'<text[^>]* y="(\S+)"[^>]*> (?:hidden|output)', picture)]
    heights = heights or [float(y) for y in re.findall(r"translate\(\S+ (\S+)\)[^>]*> (?:hidden|output)", picture)]
    assert len(heights) == 4 and min(np.diff(sorted(heights))) > 8
    dead = [{"epoch": e, "0.weight": 0.0, "1.weight": 0.0} for e in range(3)]
    assert "output weights 0" in written(lambda path: plots.gradients(dead, path), tmp_path)


@pytest.mark.parametrize(("epochs", "ticks"), [(20, {"5", "10", "15", "20"}), (200, {"25", "50", "200"} - {"25"})])
def test_epochs_are_whole_numbers(epochs: int, ticks: set[str], tmp_path: Path) -> None:
    rows = [{"epoch": e + 1, "loss": 1 / (e + 1), "accuracy": 0.5} for e in range(epochs)]
    found = texts(written(lambda path: plots.curves(rows, path), tmp_path))
    assert ticks <= set(found) and not {"2.5", "7.5"} & set(found)
    flow = [{"epoch": e, "0.weight": 0.5} for e in range(epochs + 1)]
    assert ticks <= set(texts(written(lambda path: plots.gradients(flow, path), tmp_path)))


def test_a_confusion_matrix_of_many_classes_has_room(tmp_path: Path) -> None:
    k = 47
    labels = np.arange(k)
    picture = written(lambda path: plots.confusion(labels, labels, [f"class {i}" for i in labels], path), tmp_path)
    found = texts(picture)
    assert [found.count(f"class {i}") for i in labels] == [2] * k and found.count("100") == k
    width = float(re.findall(r'width="([\d.]+)pt"', picture)[0])
    assert width / k > 12  # points, for numbers of 7


AWKWARD = [
    "US$ and CA$",
    "a rather long name of a class, number 1",
    "a rather long name of a class, number 2",
    "кот <&>",
]


@pytest.mark.parametrize("name", ["confusion", "predictions"])
def test_names_of_classes_are_shown_as_they_stand(name: str, tmp_path: Path) -> None:
    draw: dict[str, Callable[[Path], Path]] = {
        "confusion": lambda path: plots.confusion(np.arange(4), np.arange(4), AWKWARD, path),
        "predictions": lambda path: plots.predictions(IMAGES[:4], np.arange(4), np.eye(4), AWKWARD, path),
    }
    found = [text.removesuffix(" 100%") for text in texts(written(draw[name], tmp_path))]
    assert "US$ and CA$" in found and "кот &lt;&amp;&gt;" in found
    long = [text for text in found if text.startswith("a rat")]
    assert {text[-2:] for text in long} == {" 1", " 2"} and max(map(len, long)) <= 24


def test_letters_that_no_font_has_are_replaced_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["cat", "\N{EGYPTIAN HIEROGLYPH A001}\U000f0000"]  # the second letter is in private use
    with pytest.warns(UserWarning, match="no font on this machine has all letters of .*; a number stands for it"):
        picture = written(lambda path: plots.confusion(np.arange(2), np.arange(2), names, path), tmp_path)
    assert texts(picture).count("class 1") == 2


@pytest.mark.parametrize(
    ("low", "high", "count"), [(1e-9, 1.0, 4), (0.02, 0.3, 3), (0.0031, 0.0042, 3), (3.0, 3.0, 0), (1e-300, 1e300, 3)]
)
def test_a_log_axis_has_numbers_between_its_ends(low: float, high: float, count: int) -> None:
    """Within one decade, too, where powers of ten alone would leave it without any."""
    ticks = log_ticks(low, high)
    assert count <= len(ticks) <= 10 and all(low <= tick <= high * 1.001 for tick in ticks)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((0.027, "0.027"), (0.1, "0.1"), (3.14159, "3.1"), (250.0, "250"), (12345.0, "12,000"), (2e-5, "2×10⁻⁵")),
        *((1e-5, "10⁻⁵"), (-0.0, "0"), (np.nan, "nan"), (np.inf, "inf"), (7.0, "7"), (9.99e9, "10¹⁰")),
    ],
)
def test_numbers_are_written_as_people_do(value: float, text: str) -> None:
    assert short_number(value) == text


def test_epochs_before_and_after_a_resume_are_all_there(tmp_path: Path) -> None:
    """A test set, or a parameter, that joined later leaves a gap, and no epoch out."""
    rows = [
        {"epoch": 1, "loss": 0.9},
        {"epoch": 2, "loss": 0.7, "test_loss": 0.8, "accuracy": 0.6},
        {"epoch": 3, "loss": 0.6},
    ]
    found = texts(written(lambda path: plots.curves(rows, path), tmp_path))
    assert {"1", "2", "3"} <= set(found) and "accuracy" in found
    flow = [{"epoch": 0, "a.weight": 0.1}, {"epoch": 1, "a.weight": 0.1, "b.gain": 0.2}]
    assert " b gain 0.2" in texts(written(lambda path: plots.gradients(flow, path), tmp_path))


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["0.weight", "1.weight"], ["hidden weights", "output weights"]),
        (["0.weight", "1.bias", "2.weight"], ["hidden 1 weights", "hidden 2 biases", "output weights"]),
        (["layers.0.weight", "layers.1.weight"], ["hidden weights", "output weights"]),
        (["hidden.weight", "read_out.bias"], ["hidden weights", "read out biases"]),
        (["weight", "running_mean"], ["weights", "running mean"]),
    ],
)
def test_layers_are_called_by_name(names: list[str], words: list[str], tmp_path: Path) -> None:
    flow = [{"epoch": 0, **dict.fromkeys(names, 0.5)}]
    found = texts(written(lambda path: plots.gradients(flow, path), tmp_path))
    assert all(f" {word} 0.5" in found for word in words)
