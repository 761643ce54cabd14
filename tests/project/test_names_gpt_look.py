"""The page that looks inside the GPT, and what is traced back to single numbers: the same numbers as `vector`'s."""

import json
import re
import runpy
import xml.etree.ElementTree as ET
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from example_runs import command, importing, run
from gpts import FOLDER, TENSORS, Gpt, Sizes, weights_of

import vector
from vector import checkpoint

ALPHABET = "\n<abcdehilmrt"


@pytest.fixture(scope="module")
def look() -> SimpleNamespace:
    with importing(FOLDER):
        return SimpleNamespace(**runpy.run_path(str(FOLDER / "look.py")))


def model_of(layers: int) -> Gpt:
    sizes = Sizes(len(ALPHABET), 8, 2, layers, 10)
    return Gpt(sizes, TENSORS, weights_of(sizes, 1))


def expected(model: Gpt, letters: np.ndarray) -> dict[str, Any]:
    """What the page shows, by `vector`."""
    seen: list[Any] = []
    following = np.array([*letters[1:], 0])
    probabilities = vector.softmax(model(letters[None], seen)).data[0]
    # By how much a letter stands at a place: the rows of a matrix of ones and zeros, in the place of a look-up.
    hot, weights = vector.Tensor(np.eye(model.sizes.letters)[letters]), model.weights
    changed = Gpt(model.sizes, TENSORS, model.state())
    changed.weights = weights | {"letters": Rows(hot @ weights["letters"])}
    loss = changed.loss(letters[None], np.eye(model.sizes.letters)[following][None] / len(letters))
    slopes = vector.grad(loss, hot)
    attention = [shares.data[0] for shares in seen]
    return {"loss": loss.item(), "probabilities": probabilities, "slopes": slopes, "attention": attention}


class Rows:
    """A table whose rows are there already, whatever is looked up."""

    def __init__(self, rows: Any) -> None:
        self.rows = rows

    def __getitem__(self, _: Any) -> Any:
        return vector.reshape(self.rows, (1, *self.rows.shape))


@pytest.mark.browser
@pytest.mark.parametrize("layers", [1, 2])
def test_the_page_computes_what_vector_computes(look, browser, tmp_path: Path, layers: int) -> None:
    model = model_of(layers)
    path = tmp_path / "look.html"
    path.write_text(look.page(model, ALPHABET, "mathilda"), encoding="utf-8")
    browser.get(path.as_uri())
    for name in ("mathilda", "t", "", "abcdehilm"):
        letters = look.numbers(name, ALPHABET, model.sizes)
        found = browser.execute_script("return look(arguments[0])", letters.tolist())
        theirs = expected(model, letters)
        assert found["loss"] == pytest.approx(theirs["loss"], rel=1e-12)
        assert np.allclose(found["probabilities"], theirs["probabilities"], rtol=1e-11, atol=1e-14)
        assert np.allclose(found["slopes"], theirs["slopes"], rtol=1e-9, atol=1e-13)
        for heads, shares in zip(found["attention"], theirs["attention"], strict=True):
            for rows, head in zip(heads, shares, strict=True):
                for t, row in enumerate(rows):
                    assert np.allclose(row, head[t, : t + 1], rtol=1e-11, atol=1e-14) and not head[t, t + 1 :].any()
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


@pytest.mark.browser
def test_a_name_is_typed_in(look, browser, tmp_path: Path) -> None:
    path = tmp_path / "look.html"
    path.write_text(look.page(model_of(1), ALPHABET, "mathilda"), encoding="utf-8")
    browser.get(path.as_uri())
    field, message = (browser.find_element("id", name) for name in ("name", "message"))
    assert message.text.startswith("loss ")
    first = message.text
    assert len(browser.find_elements("css selector", "#attention table")) == 2
    assert len(browser.find_elements("css selector", "#probabilities .marked")) == 9
    field.clear()
    field.send_keys("tilda")
    assert message.text.startswith("loss ") and message.text != first
    assert len(browser.find_elements("css selector", "#slopes .marked")) == 6
    browser.find_element("css selector", "#next button:not(:disabled)").click()
    assert len(field.get_attribute("value")) == 6
    field.send_keys("!")
    assert message.text == "“!” is not in the alphabet"


def test_the_files(look, tmp_path: Path, capsys) -> None:
    model = model_of(1)
    settings = {"alphabet": ALPHABET, "sizes": list(model.sizes)}
    checkpoint.save(tmp_path / "model", {"settings": settings, "weights": model.state()})
    look.main(look.parse(["--model", str(tmp_path / "model"), "--out", str(tmp_path / "out"), "--name", "hilda"]))
    names = [f"{name}.{kind}" for name in ("attention", "logit", "loss") for kind in ("html", "svg")]
    names = sorted([*names, "look.html", "neighbours.svg"])
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
    for name in names:
        text = (tmp_path / "out" / name).read_text()
        assert not re.search(r'(src|href)="(?!data:|#)', text), "self-contained"
        if name.endswith(".svg"):
            ET.fromstring(text)
    page = (tmp_path / "out" / "look.html").read_text()
    assert not re.search(r"\{\{\w+\}\}", page)
    weights = json.loads(re.search(r"W = (\{.*?\});\n", page)[1])
    assert all(np.array_equal(weights[name], x) for name, x in model.state().items())


def test_what_is_traced_agrees(look) -> None:
    """Each graph of single numbers has the value of the tensor's element, and knows its inputs by name."""
    model = model_of(1)
    letters = look.numbers("hilda", ALPHABET, model.sizes)
    found, right, seen = look.traced(model, letters), expected(model, letters), []
    logits = model(letters[None], seen).data[0]
    assert found["logit"].data == pytest.approx(logits[-1].max(), rel=1e-12)
    assert found["attention"].data == pytest.approx(seen[0].data[0, :, -1].max(), rel=1e-12)
    assert found["loss"].data == pytest.approx(right["loss"], rel=1e-12)
    assert re.match(r"logit\[5,\d+\]", found["logit"].label) and found["loss"].label == "loss"
    assert re.match(r"share\[0,[01],5,\d\]", found["attention"].label)


def test_neighbours(look) -> None:
    x = np.array([[1.0, 0.0, 0.1], [2.0, 0.1, 0.2], [0.0, 1.0, 0.0], [0.1, 3.0, 0.0]])
    assert look.nearest(x).tolist() == [1, 0, 3, 2]
    at = look.plane(x)
    assert at.shape == (4, 2) and at[:, 0].var() > at[:, 1].var()
    apart = np.linalg.norm(x[:, None] - x, axis=-1)
    assert (np.linalg.norm(at[:, None] - at, axis=-1) <= apart + 1e-12).all()
    close = np.array([[0.0, 0.0], [1.0, 0.0], [50.0, 50.0]])
    moved = look.spread(close, 20.0)
    assert np.linalg.norm(moved[0] - moved[1]) == pytest.approx(20.0) and np.array_equal(moved[2], close[2])


@pytest.mark.parametrize(("name", "message"), [("Z", "got 'Z'"), ("a" * 10, "at most 9 letters, got 10")])
def test_names_that_will_not_do(look, name, message) -> None:
    with pytest.raises(ValueError, match=message):
        look.numbers(name, ALPHABET, model_of(1).sizes)


def test_another_file_is_refused(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "other", {"step": 1})
    words = command("names_gpt/look.py", "--model", "other")
    assert "expected a file that train.py of this folder wrote" in run(tmp_path, *words, code=1).stderr
