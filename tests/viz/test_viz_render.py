"""Pictures as files: every format, with `dot` and without, whole or not at all, and quiet."""

import importlib.util
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

import scalar
import vector
import viz
import viz.picture.dot
from scalar import Value
from viz.nodes import in_order

STARTS = {"svg": b"<?xml", "png": b"\x89PNG\r\n\x1a\n", "pdf": b"%PDF-"}


@pytest.fixture
def node() -> Value:
    x = Value(2.0, label="x")
    result = x * x
    result.backward()
    return result


@pytest.fixture
def no_dot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)


@pytest.fixture
def fake_dot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `dot` on the PATH that answers with its options and what it read."""
    folder = tmp_path / "bin"
    folder.mkdir()
    dot = folder / "dot"
    dot.write_text(f"#!{sys.executable}\nimport sys\nprint(sys.argv[1:], sys.stdin.read())\n")
    dot.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    return dot


@pytest.mark.parametrize("form", STARTS)
def test_the_wheel_writes_every_format_and_says_nothing(
    form: str, node: Value, no_dot: None, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"picture.{form}"
    assert viz.render(viz.draw(node), path) == path
    assert path.read_bytes().startswith(STARTS[form])
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == [path]


def test_a_png_is_sharp(node: Value, no_dot: None, tmp_path: Path) -> None:
    picture = viz.render(node, tmp_path / "picture.png").read_bytes()
    width = int(re.findall(r'svg width="(\d+)pt"', viz.svg(node))[0])
    assert int.from_bytes(picture[16:20], "big") == pytest.approx(width * 192 / 72, rel=0.02)


def test_dot_is_used_where_it_is(node: Value, fake_dot: Path, tmp_path: Path) -> None:
    path = viz.render(node, tmp_path / "picture.PNG")
    assert path.read_text() == f"['-Tpng', '-Gdpi=192'] {viz.draw(node).source}\n"


@pytest.mark.skipif(not shutil.which("dot"), reason="no dot on the PATH to compare with the wheel")
def test_dot_and_the_wheel_show_the_same_text(node: Value, monkeypatch: pytest.MonkeyPatch) -> None:
    by_dot = re.findall(r"<text.*>", viz.svg(node))
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert [re.sub(r".*?>", "", text, count=1) for text in re.findall(r"<text.*>", viz.svg(node))] == [
        re.sub(r".*?>", "", text, count=1) for text in by_dot
    ]


def test_without_any_graphviz_the_error_says_how_to_get_one(
    node: Value, no_dot: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RuntimeError) as error:
        viz.render(node, tmp_path / "picture.svg")
    assert str(error.value) == (
        "render: expected Graphviz, found none; pip install 'twograd[see]', or install Graphviz with its dot"
    )
    assert not list(tmp_path.iterdir())


def test_without_matplotlib_a_picture_has_the_fonts_of_the_machine(
    node: Value, monkeypatch: pytest.MonkeyPatch
) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "matplotlib" else find_spec(name))
    assert viz.svg(node).startswith("<svg") and "</svg>" in viz.svg(node)


@pytest.mark.parametrize("name", ["picture.jpg", "picture", "svg"])
def test_another_format_is_refused(name: str, node: Value, tmp_path: Path) -> None:
    message = f"render: expected a path that ends in .svg, .png, .pdf or .tex, got {str(tmp_path / name)!r}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        viz.render(node, tmp_path / name)


def test_a_failure_tells_what_graphviz_said_and_keeps_the_old_file(node: Value, fake_dot: Path, tmp_path: Path) -> None:
    fake_dot.write_text(f"#!{sys.executable}\nimport sys\nsys.exit('syntax error in line 1')\n")
    path = tmp_path / "picture.svg"
    path.write_text("old")
    with pytest.raises(RuntimeError, match=r"^render: Graphviz failed: syntax error in line 1$"):
        viz.render(node, path)
    assert path.read_text() == "old"


def test_graphviz_is_not_waited_for_for_ever(
    node: Value, fake_dot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_dot.write_text(f"#!{sys.executable}\nimport time\ntime.sleep(60)\n")
    monkeypatch.setattr(viz.picture.dot, "PATIENCE", 0.1)
    with pytest.raises(RuntimeError, match=r"^render: Graphviz had no picture after 0\.1 seconds; draw a part"):
        viz.render(node, tmp_path / "picture.svg")
    assert [path.name for path in tmp_path.iterdir()] == ["bin"]


def test_a_file_that_cannot_take_its_place_leaves_nothing_behind(node: Value, tmp_path: Path) -> None:
    (tmp_path / "picture.svg").mkdir()
    with pytest.raises(OSError):
        viz.render(node, tmp_path / "picture.svg")
    assert [path.name for path in tmp_path.iterdir()] == ["picture.svg"]


def test_who_reads_the_old_file_meanwhile_reads_it_whole(node: Value, tmp_path: Path) -> None:
    path = tmp_path / "picture.svg"
    path.write_bytes(b"old")
    with path.open("rb") as reader:
        viz.render(node, path)
        assert reader.read() == b"old"


def test_a_picture_may_be_read_by_whom_other_files_may(node: Value, tmp_path: Path) -> None:
    (tmp_path / "other").write_text("")
    path = viz.render(node, tmp_path / "picture.svg")
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE((tmp_path / "other").stat().st_mode)


def test_a_machine_without_fonts_gets_those_of_matplotlib(
    node: Value, no_dot: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = viz.svg(node)
    empty = tmp_path / "fonts.conf"
    empty.write_text("<fontconfig></fontconfig>")
    monkeypatch.setenv("FONTCONFIG_FILE", str(empty))
    assert viz.svg(node) == usual  # as wide, so in the same letters
    monkeypatch.setattr(viz.picture.dot, "_fonts", lambda folder: {})
    assert viz.svg(node) != usual


def test_svg_is_an_element_for_a_page(node: Value) -> None:
    picture = viz.svg(node)
    assert picture.startswith("<svg")
    assert picture.rstrip().endswith("</svg>")
    assert 'font-family="DejaVu Sans,Verdana,Helvetica,Arial,sans-serif"' in picture


def test_a_node_shows_itself_in_a_notebook(node: Value) -> None:
    assert node._repr_svg_() == viz.svg(node)


def test_a_drawing_shows_itself_in_a_notebook_without_dot(node: Value, no_dot: None) -> None:
    drawn = viz.draw(node, theme="dark")
    assert drawn._repr_mimebundle_() == {"image/svg+xml": viz.svg(drawn)}


def test_a_notebook_gets_the_reason_where_there_is_no_picture(
    node: Value, no_dot: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    end = Value(1.0)
    for _ in range(1000):
        end = -end
    assert "draw the part near the root with depth=499" in viz.svg(end)
    assert str(end._repr_svg_()).count('class="edge"') == 60
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    picture = str(node._repr_svg_())
    assert "install &#x27;twograd[see]&#x27;" in picture
    assert ElementTree.fromstring(picture).tag.endswith("svg")


def test_viz_imports_neither_engine() -> None:
    code = "import sys, viz; print(sorted({'scalar', 'vector', 'pygraphviz', 'matplotlib'} & set(sys.modules)))"
    root = Path(viz.__file__).parent.parent
    assert subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True).stdout == "[]\n"


@pytest.mark.parametrize("rankdir", ["LR", "TB", "RL", "BT"])
def test_a_huge_graph_is_placed_rank_by_rank(rankdir: str, tmp_path: Path) -> None:
    """What Graphviz would take minutes to lay out: every node has a place of its own, after its inputs."""
    layer = [Value(0.1 * i, f"x{i}") for i in range(60)]
    for _ in range(2):
        layer = [(layer[i % len(layer)] + layer[(7 * i + 1) % len(layer)]).tanh() for i in range(900)]
    root = scalar.sum(layer)
    drawn = viz.draw(root, max_nodes=10_000, rankdir=rankdir)
    assert drawn.graph_attr["layout"] == "nop"
    places = [tuple(map(float, pair)) for pair in re.findall(r'pos="(\S+),(\S+)"', drawn.source)]
    nodes = in_order([root])
    assert len(places) == len(set(places)) == len(nodes) > 3000
    at = dict(zip(map(id, nodes), places, strict=True))
    axis, sign = {"LR": (0, 1), "RL": (0, -1), "TB": (1, -1), "BT": (1, 1)}[rankdir]
    assert all(sign * (at[id(node)][axis] - at[id(x)][axis]) > 0 for node in nodes for x in node.inputs)
    picture = viz.render(drawn, tmp_path / "huge.svg").read_text()
    assert picture.count('class="node"') == len(nodes)


def test_the_rest_of_a_huge_graph_has_a_place_too(node: Value, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(viz.picture.draw, "HUGE", 0)
    part = viz.draw(node * node + node, depth=1)
    assert part.source.count("pos=") == 4  # the sum, its two inputs, and the dots before the product
    assert viz.render(part, tmp_path / "part.svg").read_text().count('class="node"') == 4


def test_a_tensor_shows_itself_in_a_notebook() -> None:
    x = vector.tanh(vector.Tensor([1.0, 2.0], "x"))
    assert x._repr_svg_() == viz.svg(x)
