"""The playground's language and numbers: texts are read as on the command line, and computed as scalar does.

All of it happens in one page: a test hands it many expressions at once.
"""

import itertools
import json
import math
import random
import re
from pathlib import Path
from typing import Any

import pytest
from viz_samples import params, scalar_nodes

import scalar
import viz
from scalar import Value
from viz.__main__ import FUNCTIONS, main
from viz.expression import Mistake, parse
from viz.maths.letters import normal
from viz.maths.notation import decimal
from viz.maths.steps import definition, names
from viz.nodes import in_order
from viz.playground.page import playground

pytestmark = [pytest.mark.browser, pytest.mark.filterwarnings("ignore::RuntimeWarning")]
ROOT = Path(viz.__file__).parents[1]
LETTERS = {"a": 2.0, "b": -3.0, "c": 6.5, "x": 0.7}

READ = """
LANGUAGE.usual = letters;
LANGUAGE.fresh = [1.25];
const readAs = (text) => {
  values.clear();
  try {
    const { next, trouble } = read(text);
    if (trouble) return [trouble.column, trouble.what];
    const done = run(next, {});
    const used = (node, i) => i === next.root || next.nodes.some((each) => each.inputs.includes(i));
    return { nodes: next.nodes.filter(used).map((node) => [node.name, node.made, decimal(node.data)]),
      told: done.frames.filter((f) => f.phase === "backward").map((f) => [f.sentence, ...f.lines]) };
  } catch (error) {
    if (!(error instanceof Mistake)) throw error;
    return [error.column, error.what];
  }
};
"""


def parsed(text: str) -> Value:
    """The graph of a text, with a number for every name in it, as the page gives one."""
    names = {normal(name) for name in re.findall(r"[^\W\d]\w*", text)} - FUNCTIONS.keys()
    given = {name: LETTERS.get(name, 1.25) for name in names}
    while True:
        try:
            return parse(text, given, FUNCTIONS, Value)
        except Mistake as mistake:
            if "expected values for names in the expression only" not in str(mistake):
                raise
            del given[str(mistake).rpartition("got ")[2].removesuffix("=")]  # a setting's, or of no use


@pytest.fixture(scope="module")
def page(browser, tmp_path_factory: pytest.TempPathFactory):
    path = tmp_path_factory.mktemp("playground") / "playground.html"
    assert main(["--playground", "-o", str(path)]) == 0
    browser.get(path.as_uri())
    yield browser
    assert browser.get_log("browser") == []


def in_page(page, texts: list[str]) -> list[Any]:
    return page.execute_script(f"const letters = {json.dumps(LETTERS)};{READ} return {json.dumps(texts)}.map(readAs);")


def in_python(text: str) -> Any:
    """What the page should say."""
    try:
        root = parsed(text)
    except Mistake as mistake:
        column, _, what = str(mistake).removeprefix("column ").partition(": ")
        return [int(column), what]
    if not root.requires_grad:
        return [1, "expected a name with a value, such as x"]
    nodes = in_order([root])
    called = names(nodes, root)
    return {
        "nodes": [
            [called[id(node)].code.text, definition(node, called).code.text if node.op else "", decimal(node.data)]
            for node in nodes
        ],
        "told": [[frame.sentence, *(part.text for part in frame.contributions)] for frame in viz.steps(root)],
    }


def differences(page, texts: list[str]) -> str:
    found = in_page(page, texts)
    pairs = [(text, got, in_python(text)) for text, got in zip(texts, found, strict=True)]
    return "\n".join(f"{text!r:.60}\n  page   {got}\n  python {want}" for text, got, want in pairs if got != want)


TYPED = """
tanh(a*b + c) | -a**2 | a**-b | +a | a - (b - c) | (a - b) - c | a/b/c | 2**0.5*a | a**2**x | -(-a) | --a
a + 1_000.5 + .5 + 5. + 1e-3 | where(a > 1, a, b) | where(a == 2, a*x, 0) | where(2 < 1, a, x) | where(True, a, b)
where(b <= a*c + 1, a, -b) | where(c != x, x, a) | sum([a, b, 1]) | a + sum([]) | dot([a, 1], [b, x])
mean((a, b, c)) | var([a, b, c]) | std([a, b], 1) | var([a, x], ddof=1) | max([a, a, x]) | leaky_relu(b, 0.5)
leaky_relu(b, slope=2) | clip(a*b, low=-1, high=1) | clip(a, -1, 1) | round(c, 1) | round(x) | elu(b) | norm([a, b])
a*b*c*x + a*b*c*x + tanh(a*b*c*x/50 - a*b*c/50) | (a + b + c + x)*(a + b + c + x) | ((((a)))) | a*a*a | L*2 + a
v1 + v2*tanh(v1*v2*v1*v2) | sum([a,b,c,x,a,b]) | ä + a | logsumexp([a, b, c]) - a |  (a, b) | a, b | a < b < c
a + d*log(0) | a/0 | a/(b - b) | log(b) | 1e999*a | 9**9**9*a | a + (a > 1) | [a, a] | max(a) | power(a)
tanh(a, b) | power(a, b, c) | leaky_relu(1, a) | where(a, a, a) | where(a > 1, a) | tanh*a | a.real | a + a[0]
'x'*a | f(a) | qq(a) | sigmiod(a) | arcsn(a) | expp(a) | mean([]) | var([a], 1, 2) | dot([a], [b, c]) | sum([a, [b]])
clip(a) | clip(a, 1) | leaky_relu(a, slop=2) | leaky_relu(a, **a) | tanh(*a) | leaky_relu(a, slope=1, slope=2) | a^2
2a | a² | 2(a + b) | (a)(b) | a(b + c) | sin x | ln(a) | a − b | a·b | 3x**2 | 0.5a | x_1y2 | a b | (a + b)c
asin(x) | pow(a, 2) | e^x | a % b | |a| | a≤b | a // b
"""
WRONG = "(a | a) | (a] | a + | +* a | a +* 2 | ) | a) + (b | [a, b | a $ b | tanh( | tanh(a | a # b"


def test_what_is_typed_is_read_as_on_the_command_line(page) -> None:
    texts = [text.strip() for line in TYPED.strip().splitlines() for text in line.split(" | ")]
    texts += [text.strip() for text in WRONG.split(" | ")]
    texts += [
        "",
        "  ",
        "  a + ?",
        "(" * 101 + "a",
        "-" * 101 + "a",
        "a+" * 6000 + "a",
        "a + " + "9" * 400,
        "|a|",
        "a\u00a0*\u2009b",
    ]
    assert differences(page, texts) == ""


def test_random_texts_are_read_or_refused_alike(page) -> None:
    """Valid texts give the same graph; of others both tell the column, which may differ where the grammar gave up."""
    rng = random.Random(7)
    parts = ["a", "b", "2", "0.5", "tanh(", "sum([", "(", ")", "])", ")", "+", "-", "*", "/", "**", ",", "where(a > b,"]
    texts = ["".join(rng.choices(parts, k=rng.randint(1, 9))) for _ in range(1500)]
    for text, got in zip(texts, in_page(page, texts), strict=True):
        want = in_python(text)
        assert got == want or (isinstance(got, list) and isinstance(want, list)), text


def test_every_op_has_the_numbers_and_sentences_of_scalar(page) -> None:
    texts = []
    for name, op in scalar.ops.OPS.items():
        node = scalar_nodes()[name]
        texts.append(viz.formula(node).text.removeprefix("L = ").replace("where(True", "where(a < 3"))
        if not op.over and len(op.rules) == 1:
            texts.append(f"{name}(a*x + 0.25{', -1, 1' if name == 'clip' else ''}) * b")
    assert differences(page, texts) == ""


AWKWARD = [0.0, -0.0, -1.0, 2.0, 1000.0, math.inf, math.nan]


def test_every_op_has_the_numbers_of_scalar_at_awkward_points(page) -> None:
    """Value and gradients by decimal; only the sign of a zero may differ."""
    cases, expected = [], []
    for name, op in scalar.ops.OPS.items():
        inputs = ["a", "b"][: 2 if op.over else len(op.rules)]
        listed = f"[{', '.join(inputs)}]" if op.over else ", ".join(inputs)
        text = {"dot": "dot([a], [b])", "clip": "clip(a, -1, 1)", "where": "where(a > b, a, b)"}.get(name)
        for numbers in itertools.product(AWKWARD, repeat=len(inputs)):
            nodes = [Value(x, label) for x, label in zip(numbers, inputs, strict=True)]
            given = params(op) | ({"condition": numbers[0] > numbers[1]} if name == "where" else {})
            out = Value.apply(op, nodes, given or None)
            cases.append([text or f"{name}({listed})", dict(zip(inputs, numbers, strict=True))])
            expected.append([out.data, *scalar.grad(out, nodes)])
    found = page.execute_script(
        f"""const graphs = new Map();
        const graphOfText = (text) => graphs.get(text) ?? graphs.set(text, read(text).next).get(text);
        return {json.dumps(cases)}.map(([text, given]) => {{
          const next = graphOfText(text), leaves = next.nodes.flatMap((node, i) => node.leaf ? [i] : []);
          const done = run(next, Object.fromEntries(leaves.map((i) => [i, given[next.nodes[i].name]])));
          const byName = Object.keys(given).map((name) => leaves.find((i) => next.nodes[i].name === name));
          return [done.values[next.root], ...byName.map((i) => done.gradients[i])].map(decimal);
        }});"""
    )
    plain = [["0.0" if text == "-0.0" else text for text in texts] for texts in found]
    wanted = [["0.0" if decimal(x) == "-0.0" else decimal(x) for x in xs] for xs in expected]
    wrong = [(case, got, want) for case, got, want in zip(cases, plain, wanted, strict=True) if got != want]
    assert not wrong, wrong[:20]


def test_the_shipped_page_is_what_the_command_writes() -> None:
    """After a change: python -m viz --playground -o examples/playground.html."""
    assert (ROOT / "examples/playground.html").read_text(encoding="utf-8") == playground(scalar.ops.OPS)


def test_the_page_is_one_small_file_that_asks_nothing_of_the_network() -> None:
    text = playground(scalar.ops.OPS)
    assert len(text) < 300_000
    assert "default-src 'none'" in text and "url(" not in text and " src=" not in text
    assert set(re.findall(r"https?://[\w./]+", text)) == {"http://www.w3.org/2000/svg"}
    assert text.count("<script") == text.count("</script") == 1


def test_no_two_parts_of_the_page_have_a_name_in_common() -> None:
    """Of two functions of one name in a page, the later one would be called by all."""
    declared = re.findall(r"^(?:function|const|let|class) (\w+)", playground(scalar.ops.OPS), re.MULTILINE)
    assert len(declared) > 150 and len(set(declared)) == len(declared)
