"""The lessons: every solution is right, every exercise begins open, and nothing pours too much into a cell."""

import itertools
import json
import re
from pathlib import Path

import pytest
from notebooks import ROOT, of_cells, outputs, run, size

LESSONS = ROOT / "examples" / "lessons"
NOTEBOOKS = sorted(LESSONS.glob("*.ipynb"))
MOST = 100_000  # bytes that a cell may show


def sources(path: Path, kind: str = "code") -> list[str]:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == kind]


def is_open(source: str) -> bool:
    return "..." in source


def solutions(path: Path) -> list[str]:
    """The solutions of a lesson's exercises, in order, from the chapter with its number."""
    page = (LESSONS / "solutions.md").read_text(encoding="utf-8")
    chapter = page.split(f"\n## {path.name[0]}. ", 1)[1].split("\n## ", 1)[0]
    return re.findall(r"```python\n(.*?)\n```", chapter, re.DOTALL)


def first_tried(path: Path) -> list[str]:
    """The cells of a reader who runs each exercise with its check before solving it."""
    cells, answers = sources(path), iter(solutions(path))
    tried = []
    for i, source in enumerate(cells):
        if is_open(source):
            tried += [source, cells[i + 1]]
            source = next(answers)
        tried.append(source)
    return tried


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_lessons_run_with_their_solutions() -> None:
    """Each check finds the exercise open, and the solution right. One kernel runs all lessons: its start takes longer
    than a lesson."""
    pytest.importorskip("matplotlib", reason="no matplotlib for the plots of the lessons")
    tried = [source for path in NOTEBOOKS for source in ["%reset -f", *first_tried(path)]]
    cells = run(of_cells(tried), LESSONS)["cells"]
    said = [outputs(cell)[-1]["text/plain"] for cell in cells if "checks." in cell["source"]]
    assert [text[0] for text in said] == ["✗", "✓"] * sum(len(solutions(path)) for path in NOTEBOOKS), said
    assert not [text for text in said if text[0] == "✗" and "..." not in text]
    assert max(map(size, cells)) < MOST
    printed = "\n".join(each["stdout"] for cell in cells for each in outputs(cell) if "stdout" in each)
    (before, after), *_ = re.findall(r"^loss before (\S+), after (\S+)$", printed, re.MULTILINE)
    assert float(before) == pytest.approx(float(after), abs=1e-3) and float(after) > 0.3  # the bug did harm that stays
    assert re.search(r"^learning rate 0.8: loss \S+, [56] of 6 neurons are dead$", printed, re.MULTILINE)
    assert int(re.findall(r"^vector +\S+ µs +([\d,]+) ×$", printed, re.MULTILINE)[0].replace(",", "")) > 20


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_lesson_is_stored_open_and_without_outputs(path: Path) -> None:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in notebook["cells"])
    assert sum(map(is_open, sources(path))) == len(solutions(path)) >= 2
    text = "\n".join(sources(path, "markdown"))
    assert text.count("**Exercise") == len(solutions(path))
    for link in re.findall(r"\]\(([^)]+)\)", text):
        assert (LESSONS / link).exists(), link


def test_there_are_five_lessons_and_each_leads_to_the_next() -> None:
    assert [path.name[0] for path in NOTEBOOKS] == list("12345")
    for path, following in itertools.pairwise(NOTEBOOKS):
        assert f"]({following.name})" in sources(path, "markdown")[-1]


# The program of the well-known lecture on micrograd, from the first picture to the trained network, as its readers
# type it: only the names of the engine and of the pictures differ.
LECTURE = [
    "import math\nimport random\n\nimport numpy as np\nfrom scalar import Value, op\nimport viz",
    """
a = Value(2.0, label="a")
b = Value(-3.0, label="b")
c = Value(10.0, label="c")
e = a * b; e.label = "e"
d = e + c; d.label = "d"
f = Value(-2.0, label="f")
L = d * f; L.label = "L"
viz.draw(L)""",
    "L.backward()\nviz.draw(L)",
    """
for leaf in (a, b, c, f):
    leaf.data += 0.01 * leaf.grad
e = a * b
d = e + c
L = d * f
print(L.data)""",
    """
x1, x2 = Value(2.0, label="x1"), Value(0.0, label="x2")
w1, w2 = Value(-3.0, label="w1"), Value(1.0, label="w2")
b = Value(6.8813735870195432, label="b")
n = x1 * w1 + x2 * w2 + b; n.label = "n"
o = n.tanh(); o.label = "o"
o.backward()
viz.draw(o)""",
    """
n = x1 * w1 + x2 * w2 + b
e = (2 * n).exp()
o = (e - 1) / (e + 1)
for leaf in (x1, x2, w1, w2, b):
    leaf.grad = 0.0
o.backward()
print(x1.grad, w1.grad, x2.grad, w2.grad)
viz.draw(o)""",
    """
@op(lambda g, out: g * (1 - out**2))
def lecture_tanh(x):
    return (math.exp(2 * x) - 1) / (math.exp(2 * x) + 1)


o = lecture_tanh(x1 * w1 + x2 * w2 + b)
o.backward()
viz.draw(o)""",
    "viz.play(o)",
    """
class Neuron:
    def __init__(self, nin):
        self.w = [Value(random.uniform(-1, 1)) for _ in range(nin)]
        self.b = Value(random.uniform(-1, 1))

    def __call__(self, x):
        act = sum((wi * xi for wi, xi in zip(self.w, x)), self.b)
        return act.tanh()

    def parameters(self):
        return self.w + [self.b]


class Layer:
    def __init__(self, nin, nout):
        self.neurons = [Neuron(nin) for _ in range(nout)]

    def __call__(self, x):
        outs = [n(x) for n in self.neurons]
        return outs[0] if len(outs) == 1 else outs

    def parameters(self):
        return [p for neuron in self.neurons for p in neuron.parameters()]


class MLP:
    def __init__(self, nin, nouts):
        sz = [nin] + nouts
        self.layers = [Layer(sz[i], sz[i + 1]) for i in range(len(nouts))]

    def __call__(self, x):
        for layer in self.layers:
            x = layer(x)
        return x

    def parameters(self):
        return [p for layer in self.layers for p in layer.parameters()]


random.seed(1337)
n = MLP(3, [4, 4, 1])
n([2.0, 3.0, -1.0])""",
    "viz.draw(n([2.0, 3.0, -1.0]))",
    """
xs = [[2.0, 3.0, -1.0], [3.0, -1.0, 0.5], [0.5, 1.0, 1.0], [1.0, 1.0, -1.0]]
ys = [1.0, -1.0, -1.0, 1.0]
ypred = [n(x) for x in xs]
loss = sum((yout - ygt) ** 2 for ygt, yout in zip(ys, ypred))
loss.backward()
viz.draw(loss)""",
    "loss",
    """
for k in range(50):
    ypred = [n(x) for x in xs]
    loss = sum((yout - ygt) ** 2 for ygt, yout in zip(ys, ypred))
    for p in n.parameters():
        p.grad = 0.0
    loss.backward()
    for p in n.parameters():
        p.data += -0.1 * p.grad
print(len(n.parameters()), loss.data)""",
]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_lecture_runs_as_it_is_typed() -> None:
    """Draw, backward, a neuron, an op of one's own, a network, training: pictures everywhere, none too large."""
    cells = run(of_cells(LECTURE))["cells"]
    assert max(map(size, cells)) < MOST
    shown = [[kind for each in outputs(cell) for kind in each] for cell in cells]
    assert not any("stderr" in kinds for kinds in shown)
    for source, kinds in zip(LECTURE, shown, strict=True):
        last = source.rpartition("\n")[2]
        assert ("image/svg+xml" in kinds) == last.startswith(("viz.draw", "n(", "loss")), source
        assert ("text/html" in kinds) == last.startswith("viz.play"), source
    assert float(outputs(cells[3])[0]["stdout"]) == pytest.approx(-7.286496)
    x1, w1, x2, w2 = map(float, outputs(cells[5])[0]["stdout"].split())
    assert (x1, w1, x2, w2) == pytest.approx((-1.5, 1.0, 0.5, 0.0), abs=1e-6)
    count, loss = outputs(cells[-1])[0]["stdout"].split()
    assert int(count) == 41 and float(loss) < 0.05
