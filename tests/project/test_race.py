"""The race of the Fashion-MNIST step: the same work is timed, other work convicted, the absent named."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from example_runs import EXAMPLES, importing

FOLDER = EXAMPLES / "fashion_mnist"
OURS = ["ours", "ours-exact", "ours-eager", "byhand", "byhand-careful"]
IMPOSTOR = """
import sys
sys.path.insert(0, {folder!r})
import racers

def eager(task):
    return racers.RACERS["ours-eager"].make(task._replace(lr=task.lr * 1.1))

racers.RACERS["byhand"] = racers.Entry("by hand, with another learning rate", "numpy", eager)
racers.RACERS["hips"] = racers.Entry("one that breaks down", "numpy", lambda task: 1 / 0)
racers.main(*sys.argv[1:])
"""


@pytest.fixture
def race():
    """examples/fashion_mnist/race.py as a module."""
    with importing(FOLDER):
        import race

        yield race


def run_race(tmp_path: Path, *arguments: object) -> str:
    paths = [str(FOLDER.parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, str(FOLDER / "race.py"), *map(str, arguments), "--data", "sample", "--out", str(tmp_path)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_quick_race(optimizer: str, tmp_path: Path) -> None:
    printed = run_race(
        tmp_path, "--batch", 1, 32, "--optimizer", optimizer, "--racers", *OURS, "--rounds", 2, "--seconds", 0.02
    )
    result = json.loads((tmp_path / "race.json").read_text())
    assert [(race["batch"], race["optimizer"]) for race in result["races"]] == [(1, optimizer), (32, optimizer)]
    for race in result["races"]:
        assert [row["name"] for row in race["rows"]] == OURS
        for row in race["rows"]:
            assert row["status"] == "raced", row
            assert row["difference"] < 1e-5
            assert len(row["rounds"]) == 2 and 0 < row["min"] <= row["median"]
            assert row["images_per_second"] == pytest.approx(race["batch"] / row["min"] * 1e6)
            assert row["ours_over_theirs"] == pytest.approx(race["rows"][0]["min"] / row["min"])
            assert row["memory"] > 1e6 and row["start"] > 0
            assert row["program"] in printed
        bounds = race["bounds"]
        assert sum(bounds["calls"].values()) == pytest.approx(bounds["products"] + bounds["other"])
        assert bounds["products"] > 0 and bounds["bytes"] > 1e6 and race["reading"] in " ".join(printed.split())
    assert result["machine"]["cores"] == os.cpu_count()
    if importlib.util.find_spec("matplotlib"):
        assert (tmp_path / "race.png").read_bytes().startswith(b"\x89PNG")


def test_other_networks_race(tmp_path: Path) -> None:
    """Ours recorded, recorded exactly and eager lose as much on each."""
    networks = ["convnet", "gru", "transformer"]
    options = ["--batch", 4, "--racers", "ours", "ours-exact", "ours-over", "byhand", "--rounds", 1, "--seconds", 0.01]
    run_race(tmp_path, "--network", *networks, *options)
    races = json.loads((tmp_path / "race.json").read_text())["races"]
    assert [race["network"] for race in races] == networks
    for race in races:
        assert [row["name"] for row in race["rows"]] == ["ours", "ours-exact", "ours-over"]
        assert all(row["status"] == "raced" for row in race["rows"]), race


@pytest.mark.parametrize("n", [1, 3])
def test_by_hand_and_careful(race, n: int) -> None:
    import byhand

    rng = np.random.default_rng(0)
    x, labels = rng.random((n, 784), np.float32), rng.integers(0, 10, n)
    weights = [rng.normal(0.0, 0.1, size).astype(np.float32) for size in [(784, 16), (16,), (16, 10), (10,)]]
    own = list(weights)
    careful, plain = byhand.sgd(own, n, 0.1, careful=True), byhand.sgd(list(weights), n, 0.1)
    first = careful(x, labels)
    assert first == pytest.approx(plain(x, labels), rel=1e-6) and careful(x, labels) < first  # a copy of its own
    before = own[0].copy()
    for images, wrong in [
        (x, labels + 10),
        (x, labels - 10),
        (x, labels[:0]),
        (x.astype(float), labels),
        (x.T, labels),
    ]:
        with pytest.raises(ValueError, match="expected"):
            careful(images, wrong)
    assert np.array_equal(before, own[0])


@pytest.fixture
def task(race, tmp_path: Path):
    task = race.Task(str(tmp_path), 8, 16, "sgd", 0.1)
    race.write_data(tmp_path, "sample", [task])
    return task


def test_an_impostor_is_convicted_and_a_breakdown_told(race, task, tmp_path: Path, monkeypatch) -> None:
    script = tmp_path / "impostor.py"
    script.write_text(IMPOSTOR.format(folder=str(FOLDER)))
    monkeypatch.setattr(race, "SCRIPT", script)
    monkeypatch.setitem(race.RACERS, "hips", race.RACERS["hips"]._replace(needs="numpy"))
    own, impostor, broken = race.race(task, ["byhand", "hips"], rounds=1, seconds=0.01)
    assert own["status"] == "raced" and own["ours_over_theirs"] == 1
    assert impostor["status"].startswith("disqualified: loss ") and "min" not in impostor
    assert broken["status"] == "failed: ZeroDivisionError: division by zero"
    table = race.table([own, impostor, broken])
    assert "disqualified" in table and "ZeroDivisionError" in table


def test_who_is_not_installed_is_listed_as_absent(race, task, monkeypatch) -> None:
    monkeypatch.setattr(race, "find_spec", lambda name: None if name in ("jax", "torch") else True)
    rows = race.race(task, ["jax", "ours", "torch"], rounds=1, seconds=0.01)
    assert [(row["name"], row["status"]) for row in rows] == [("ours", "raced"), ("jax", "absent"), ("torch", "absent")]
    assert race.table(rows).count("absent") == 2


def test_the_verdict(race) -> None:
    expected = list(np.linspace(2.0, 1.0, 50))
    assert race.verdict(expected, expected) == (0.0, "")
    assert race.verdict([loss * (1 + race.TOLERANCE / 3) for loss in expected], expected)[1] == ""
    wrong = expected[:30] + [loss + 0.01 for loss in expected[30:]]
    assert "at step 31" in race.verdict(wrong, expected)[1]
    assert "at step 2" in race.verdict([expected[0], np.nan, *expected[2:]], expected)[1]
    assert "49 losses instead of 50" in race.verdict(expected[:49], expected)[1]


def test_every_racer_and_only_racers_have_a_line(race) -> None:
    titles = [entry.title for entry in race.RACERS.values()]
    assert len(set(titles)) == len(titles) and max(map(len, titles)) < 28
    assert all(callable(entry.make) and entry.make.__doc__ for entry in race.RACERS.values())
    assert set(race.BUSY) <= race.RACERS.keys()


def test_busy_and_recipe(tmp_path: Path) -> None:
    printed = run_race(tmp_path, "--busy", "--batch", 8, "--racers", "ours", "byhand", "--rounds", 1, "--seconds", 0.02)
    (busy,) = json.loads((tmp_path / "busy.json").read_text())["busy"]
    assert [row["name"] for row in busy["rows"]] == ["ours", "byhand"] and "times slower" in printed
    printed = run_race(tmp_path, "--recipe", "default", "--epochs", 1, "--rounds", 1)
    result = json.loads((tmp_path / "recipe.json").read_text())
    own = result["recipes"]["default"][0]
    assert own["name"] == "ours" and own["status"] == "raced" and own["training"][0] < own["wall"][0]
    assert 0 < result["import_ms"] < 5000 and "import vector takes" in printed
