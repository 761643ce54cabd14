"""The GPT example as a reader runs it: training on either engine, files that both go on from, comparing, racing."""

import importlib.util
import re
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from example_runs import command, importing, run
from gpts import FOLDER, NUMBERS, TENSORS, Gpt, Sizes

from vector import checkpoint


def program(name: str) -> SimpleNamespace:
    """A program of the folder as a module of its own: other examples have one of the same name."""
    with importing(FOLDER):
        return SimpleNamespace(**runpy.run_path(str(FOLDER / f"{name}.py")))


@pytest.fixture(scope="module")
def train() -> SimpleNamespace:
    return program("train")


def training(train: SimpleNamespace, path: Path, *arguments: object):
    return train.Training(train.parse(["--out", str(path), *map(str, arguments)]))


# --- names and text ---------------------------------------------------------------------------------------------------


def test_names_are_sorted_and_fit() -> None:
    names = (FOLDER / "names.txt").read_text().split("\n")[:-1]
    assert names == sorted(set(names)) and len(names) > 400
    assert all(re.fullmatch("[a-z]{3,15}", name) or len(name) == 2 for name in names)


def test_documents_are_drawn_once_an_epoch_and_padded(train) -> None:
    text = train.Text("ab\nabcdefgh\n\nc\n", context=4, seed=1)
    assert text.alphabet == "\nabcdefgh"
    drawn = [text.letters(text.draw(i)) for i in range(6)]
    assert sorted(map(len, drawn[:3])) == sorted(map(len, drawn[3:])) == [3, 4, 5]
    letters, targets = text.examples(0, 3)
    assert letters.shape == (3, 4) and targets.shape == (3, 4, 9) and targets.sum() == pytest.approx(1.0)
    for i, document in enumerate(drawn[:3]):
        n = len(document) - 1
        assert text.letters(letters[i, :n]) == document[:-1] and not letters[i, n:].any()
        assert text.letters(targets[i, :n].argmax(axis=1)) == document[1:] and not targets[i, n:].any()


def test_a_stream_is_read_in_parts(train) -> None:
    content = "to be\nor not to be"
    text = train.Text(content, context=5, stream=True)
    parts = {text.letters(text.draw(i)) for i in range(200)}
    assert parts == {content[i : i + 6] for i in range(len(content) - 5)}


@pytest.mark.parametrize(("content", "stream", "message"), [("\n \n", False, "empty"), ("ab", True, "more than 4")])
def test_texts_that_will_not_do(train, content, stream, message) -> None:
    with pytest.raises(ValueError, match=message):
        train.Text(content, 4, stream=stream)
    with pytest.raises(ValueError, match="got 'z'"):
        train.Text("abc", 4).numbers("az")


# --- training ---------------------------------------------------------------------------------------------------------


@pytest.mark.compiler
def test_a_thousand_steps_make_names(tmp_path: Path) -> None:
    printed = run(tmp_path, *command("names_gpt/train.py")).stdout
    assert "4,192 parameters: 1 layer of width 16, 4 heads, 16 places; engine vector" in printed
    losses = [float(x) for x in re.findall(r"^step .* loss (\S+) ", printed, re.MULTILINE)]
    assert len(losses) == 10 and losses[0] > 2.6 and losses[-1] < 2.4
    samples = re.findall(r"^  ([a-z]*)$", printed, re.MULTILINE)
    assert len(samples) == 20 and 3.5 < np.mean([len(x) for x in samples]) < 9
    assert np.mean([bool(re.search("[aeiouy]", x)) for x in samples]) > 0.9
    assert checkpoint.load(tmp_path / "runs/names-gpt/model.npz")["losses"].shape == (1000,)


@pytest.mark.compiler
def test_a_training_goes_on_with_the_same_bits(train, tmp_path: Path) -> None:
    whole = training(train, tmp_path / "whole", "--steps", 12)
    whole.run(print)
    half = training(train, tmp_path / "half", "--steps", 12)
    examples = half.text.examples

    def interrupted(number, *rest):
        if number == 7:
            raise KeyboardInterrupt
        return examples(number, *rest)

    half.text.examples = interrupted
    with pytest.raises(KeyboardInterrupt):
        half.run(print)
    half.save()
    rest = training(train, tmp_path / "half", "--steps", 12, "--resume")
    assert len(rest.losses) == 7
    rest.run(print)
    assert rest.losses == whole.losses
    ours, theirs = rest.model.state(), whole.model.state()
    assert all(np.array_equal(ours[name], x) for name, x in theirs.items())
    with pytest.raises(ValueError, match="same size, text and seed"):
        training(train, tmp_path / "half", "--seed", 1, "--resume")


@pytest.mark.compiler
def test_one_engine_goes_on_from_the_file_of_the_other(train, tmp_path: Path) -> None:
    path = tmp_path / "model"
    first = training(train, path, "--steps", 4)
    examples = first.text.examples

    def interrupted(number, *rest):
        if number == 2:
            raise KeyboardInterrupt
        return examples(number, *rest)

    first.text.examples = interrupted
    with pytest.raises(KeyboardInterrupt):
        first.run(print)
    first.save()
    states = []
    for engine in ("scalar", "vector"):
        rest = training(train, path, "--steps", 4, "--resume", "--engine", engine)
        rest.run(print)
        states.append(rest.model.state())
    for name, x in states[0].items():
        assert np.allclose(x, states[1][name], rtol=0, atol=1e-12), name


def test_samples_end_at_a_break_or_at_the_most(train) -> None:
    text = train.Text("ab\nba", 4)
    for engine in (NUMBERS, TENSORS):
        model = Gpt(Sizes(3, 4, 2, 1, 4), engine, train.first_weights(Sizes(3, 4, 2, 1, 4)))
        rng = np.random.default_rng(0)
        samples = [train.sample(model, text, rng, 6, 1.0) for _ in range(20)]
        assert {*"".join(samples)} == {*"ab"} and max(map(len, samples)) <= 6
        if engine is NUMBERS:
            expected = samples
        assert samples == expected


@pytest.mark.compiler
def test_the_big_one_reads_a_stream(train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    poem, recipes = tmp_path / "poem", train.RECIPES
    poem.write_text("the rose is red, the violet blue\n" * 20)
    monkeypatch.setitem(recipes, "big", recipes["big"]._replace(batch=2, context=8))
    words = ["--size", "big", "--text", str(poem), "--steps", "3", "--samples", "1", "--letters", "9"]
    assert train.main(train.parse([*words, "--out", str(tmp_path / "model")])) == 0
    printed = capsys.readouterr().out
    assert "a stream of 660 letters" in printed and "4 layers of width 64" in printed
    assert "mean loss of the last 3 steps: " in printed


# --- both engines -----------------------------------------------------------------------------------------------------


@pytest.mark.compiler
def test_compare(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    """On a small GPT, so that it is quick; the figures are those of the whole one."""
    compare = program("compare")
    names = compare.main.__globals__
    monkeypatch.setitem(names, "SMALL", names["SMALL"]._replace(width=4, heads=2, context=13))
    compare.main(steps=5)
    printed = capsys.readouterr().out
    assert re.search(
        r"^all 460 gradients agree: largest difference \S+, at most \S+ of its bound$", printed, re.MULTILINE
    )
    rows = re.findall(r"^(scalar|vector|vector, recorded)  .* ([\d,]+) us +([\d,]+)$", printed, re.MULTILINE)
    assert [name for name, *_ in rows] == ["scalar", "vector", "vector, recorded"]
    factors = [int(factor.replace(",", "")) for *_, factor in rows]
    assert 1 == factors[0] < factors[1] < factors[2]
    wrong = names["TENSORS"]._replace(relu=lambda x: names["vector"].leaky_relu(x, 1e-9))
    monkeypatch.setitem(names, "TENSORS", wrong)
    with pytest.raises(ArithmeticError, match="more than rounding explains"):
        compare.main(steps=1)


# --- the race ---------------------------------------------------------------------------------------------------------


@pytest.mark.compiler
@pytest.mark.parametrize("batch", [1, 3])
def test_by_hand_is_the_same(batch: int) -> None:
    """Losses of both, in float64, over some steps, of several layers."""
    race = program("race")
    task = race.task_of("small", batch, "float64")
    sizes = Sizes(task.sizes.letters, 8, 2, 2, task.sizes.context)
    task = task._replace(sizes=sizes, weights=race.first_weights(sizes))
    losses = []
    for name in ("ours", "ours-eager", "byhand"):
        step = race.RACERS[name].make(task)
        losses.append([float(step(i)) for i in range(4)])
    assert np.allclose(losses[0], losses[1], rtol=1e-12) and np.allclose(losses[0], losses[2], rtol=1e-12)


@pytest.mark.compiler
def test_the_race_and_who_does_not_race(monkeypatch: pytest.MonkeyPatch) -> None:
    race = program("race")
    names, ours = race.main.__globals__, race.RACERS["ours"]
    cheat = ours._replace(title="other losses", make=lambda task: lambda i: 1.0)
    monkeypatch.setitem(race.RACERS, "jax", cheat._replace(needs="numpy"))
    monkeypatch.setitem(race.RACERS, "torch", cheat._replace(needs="no_such_module"))
    rows = names["race"](race.task_of("small", 1), ["byhand", "jax", "torch"], rounds=1, seconds=0.01)
    statuses = {row["name"]: row["status"] for row in rows}
    assert [*statuses] == ["ours", "byhand", "jax", "torch"]
    assert statuses["ours"] == statuses["byhand"] == "raced" and statuses["torch"] == "absent"
    assert statuses["jax"].startswith("disqualified") and rows[0]["ours_over_theirs"] == 1.0
    assert names["table"](rows).count("\n") == 4


@pytest.mark.parametrize("module", ["torch", "jax"])
@pytest.mark.peers
@pytest.mark.compiler
def test_the_losses_of_others(module: str) -> None:
    """A hundred steps from the same start, names of all lengths, in float64."""
    if not importlib.util.find_spec(module):
        pytest.skip(f"no {module}")
    race = program("race")
    task = race.task_of("small", 1, "float64")
    steps = [race.RACERS[name].make(task) for name in ("ours", module)]
    losses = [[float(step(i)) for i in range(100)] for step in steps]
    assert np.allclose(losses[0], losses[1], rtol=1e-6, atol=0.0)
