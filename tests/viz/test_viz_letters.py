"""Names and labels in maths: brackets where they are expressions, LaTeX that compiles, one name however it is typed."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from viz_samples import scalar_nodes

import scalar
import viz
from scalar import Value
from viz.__main__ import FUNCTIONS, main
from viz.expression import parse
from viz.maths.document import document
from viz.maths.letters import symbol, wrapped
from viz.maths.notation import number


def labelled() -> Value:
    """(x1*w1 + b) * k + (-x)**2, whose parts have labels that are expressions."""
    x1, w1, b, k = Value(1.0, "x1"), Value(2.0, "w1"), Value(3.0, "b"), Value(-4.0, "k")
    s, n = x1 * w1 + b, -k
    s.label, n.label = "x1*w1 + b", "-x"
    return s * k + n**2


def test_a_label_that_is_an_expression_is_an_operand_in_brackets() -> None:
    out = labelled()
    assert "(x1*w1 + b) × k + (-x)²" in viz.draw(out).source
    assert viz.formula(out).text.endswith("L = (x1*w1 + b) * k + (-x)**2")
    assert viz.formula(out).latex.splitlines()[-2] == (
        r"L &= (\text{x1*w1 + b}) \cdot k + (\text{-x})^{2}"  # one rule for cards, text and LaTeX
    )
    assert any(r"{\partial (\text{-x})}" in frame.latex for frame in viz.steps(out))


@pytest.mark.parametrize("label", ["w[i-1]", "f(x + 1)", "h_1'", "hidden.weight[2,1]", "x" * 30, "日本"])
def test_a_label_that_is_a_name_has_no_brackets(label: str) -> None:
    out = Value(1.0, label) * Value(2.0, "k")
    assert f"({label[:20]}" not in viz.draw(out).source + viz.formula(out).latex


def test_labels_that_are_equal_expressions_are_told_apart() -> None:
    product = Value(1.0, "x*w") + Value(1.0, "y*v")
    assert viz.formula(product * 2).text == "L = (x*w + y*v) * 2"  # none that nobody needs
    assert viz.formula(Value(1.0, "a+b") * Value(2.0, "a+b")).text == "L = (a+b) * (a+b)[2]"


@pytest.mark.parametrize(
    ("label", "tex"),
    [
        ("α", r"\alpha"),
        ("alpha", r"\alpha"),
        ("\N{MICRO SIGN}", r"\mu"),
        ("ϕ", r"\phi"),
        ("φ", r"\varphi"),
        ("Δ", r"\Delta"),
        ("Δx", r"\text{$\Delta $x}"),
        ("θ_1", r"\theta_{1}"),
        ("w_1", "w_{1}"),
        ("w_ij", "w_{ij}"),
        ("x_max", r"x_{\text{max}}"),
        ("h1[3]", "h_{1,3}"),
        ("x'", "x'"),
        ("W[2, 1]", "W_{2,1}"),
        ("learning_rate", r"\text{learning\_rate}"),
        ("w_", r"\text{w\_}"),
        ("hidden1", r"\text{hidden1}"),
    ],
)
def test_a_name_in_latex(label: str, tex: str) -> None:
    assert symbol(label) == tex


def test_a_choice_keeps_its_condition_in_latex() -> None:
    x = Value(2.0, "x")
    rows = r"\begin{cases} x & \text{if %s} \\ -x & \text{otherwise} \end{cases}"
    assert viz.formula(scalar.where(False, x, -x)).latex == "L = " + rows % "False"
    assert viz.formula(scalar.where(x > 0, x, -x) * 2).latex == rf"L = ({rows % 'True'}) \cdot 2"


def test_a_long_product_is_broken_before_its_signs() -> None:
    xs = [Value(1.0 + i, f"factor{i}") for i in range(30)]
    product = xs[0]
    for x in xs[1:]:
        product = product * x
    lines = viz.formula(product).latex.splitlines()[1:-1]
    assert len(lines) > 2 and all(line.startswith(r"&\quad \cdot ") for line in lines[1:])
    assert " ".join(lines).count("factor") == 30
    assert len(viz.derivative(product, xs[0]).latex.splitlines()) > 10
    assert wrapped(r"L &= \frac{a + b}{c + d} + e", 3) == "L &= \\frac{a + b}{c + d} \\\\\n&\\quad + e"


LATEX = shutil.which("pdflatex") or shutil.which("lualatex")


def awkward() -> list[Value]:
    """Graphs with every kind of name and sign that LaTeX could stumble over."""
    labels = [
        "|a|<b>",
        "α",
        "w_1",
        "µ",
        "50% off",
        "a\\b~c^d",
        "{x}$#&",
        "日本",
        "Привет",
        "x'",
        "θ_max[2,1]",
        "é",
        "π ≤ 3−x",
    ]
    named = scalar.sum([Value(0.5 + i, label) for i, label in enumerate(labels)])
    x = Value(2.0, "x")
    odd = scalar.where(x > 0, x * float("inf"), -x) * 1e-12 + scalar.leaky_relu(x, 1e-5)
    long = x
    for i in range(40):
        long = long * Value(1.0, f"factor_{i}")
    return [named, odd, long, labelled(), scalar.sum(list(scalar_nodes().values()))]


@pytest.mark.skipif(not LATEX, reason="no LaTeX on this machine")
@pytest.mark.filterwarnings("ignore:invalid value")
def test_latex_compiles_what_is_written(tmp_path: Path) -> None:
    for i, root in enumerate(awkward()):
        path = viz.render(root, tmp_path / f"{i}.tex")
        command = [str(LATEX), "-interaction=nonstopmode", "-halt-on-error", path.name]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
        assert done.returncode == 0, done.stdout.decode(errors="replace")[-3000:]
        assert not re.search(rb"Overfull \\hbox \(\d{3,}", done.stdout), "a line is inches too wide"


def test_a_document_declares_the_letters_that_pdflatex_does_not_know() -> None:
    text = document(Value(1.0, "日") * Value(2.0, "é"))
    assert re.findall(r"Declare.*", text) == [r"DeclareUnicodeCharacter{65E5}{{\tiny U+65E5}}"]
    assert r"\usepackage[T1]{fontenc}" in text


def test_render_writes_maths(tmp_path: Path) -> None:
    path = viz.render(labelled(), tmp_path / "g.tex")
    assert path.read_text() == document(labelled())
    for what in (viz.draw(labelled()), [labelled()]):
        with pytest.raises(ValueError, match="expected one node to write as maths, got"):
            viz.render(what, path)


@pytest.mark.parametrize(("typed", "given"), [("µ", "μ"), ("μ", "µ"), ("ϵ", "ε"), ("ϕ", "φ"), ("ﬁ", "fi")])
def test_two_ways_to_type_a_name_are_one_name(typed: str, given: str) -> None:
    for name in (typed, given):
        assert parse(f"2*{typed}", {name: 3.0}, FUNCTIONS, Value).data == 6.0
        assert main([f"2*{name}", f"{typed}=3"]) == 0
    with pytest.raises(ValueError, match="a value once for each name"):
        parse(f"2*{typed}", {typed: 3.0, given: 4.0}, FUNCTIONS, Value)
    node = Value(1.0, typed).exp()
    node.label = typed
    assert "= f" not in viz.draw(node * 2, collapse=[given]).source


@pytest.mark.parametrize("value", [-0.0, -0])
def test_zero_has_no_sign(value: float) -> None:
    assert number(value) == "0"
    x = Value(value, "x")
    out = x * Value(1.0, "y")
    out.backward()
    text = (
        viz.draw(out, local_derivatives=True).source + viz.formula(out * -0.0).text + "".join(map(str, viz.steps(out)))
    )
    assert "−0" not in text and "-0" not in text
