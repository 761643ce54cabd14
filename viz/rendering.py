"""From a graph to a picture: SVG, PNG or PDF, by `dot` where there is one, else by the pygraphviz wheel."""

import html
import importlib.util
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import graphviz

from viz.graph import Node, draw

__all__ = ["render", "svg"]

SETTINGS = {
    "svg": [],
    "png": ["-Gdpi=192"],
    "pdf": [],
}  # twice the screen's 96 dots an inch: sharp when enlarged

PATIENCE = (
    60  # seconds for one picture: some thousand nodes with edges all over take Graphviz longer than a person waits
)

# The wheel carries Graphviz as a library, which writes what it likes to stderr: it gets a process of its own.
WHEEL = """
import sys
import pygraphviz

form, *settings = (option[2:] for option in sys.argv[1:])
graph = pygraphviz.AGraph(string=sys.stdin.buffer.read().decode())
for setting in settings:
    graph.graph_attr.update([setting.split("=")])
sys.stdout.buffer.write(graph.draw(format=form, prog=graph.graph_attr.get("layout") or "dot"))
"""

SENTENCE = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="32">'
    '<text x="8" y="20" font-family="DejaVu Sans,Verdana,sans-serif" font-size="11" fill="#64748b">{text}</text></svg>'
)

# DejaVu Sans comes with matplotlib: pictures look the same on a machine with other fonts, or none.
FONTS = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "urn:fontconfig:fonts.dtd">
<fontconfig>
  <include ignore_missing="yes">{usual}</include>
  <dir>{fonts}</dir>
  <cachedir prefix="xdg">fontconfig</cachedir>
</fontconfig>
"""


def render(graph: graphviz.Digraph | Node | Sequence[Node], path: str | os.PathLike[str]) -> Path:
    """Write the picture of `graph` (what `draw` returned, or what it takes) to `path`, and return `path`.

    The suffix names the format: ``.svg``, ``.png`` or ``.pdf``. The file appears whole or not at all.

    Raises:
        ValueError: The suffix is another.
        RuntimeError: No Graphviz is found, it failed on this graph, or it took longer than a minute.
    """
    path = Path(path)
    form = path.suffix.lower().removeprefix(".")
    if form not in SETTINGS:
        raise ValueError(f"render: expected a path that ends in .svg, .png or .pdf, got {str(path)!r}")
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    picture = _picture(graph, form)
    try:
        part.write_bytes(picture)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path


def svg(graph: graphviz.Digraph | Node | Sequence[Node]) -> str:
    """The picture of `graph` as an ``<svg>`` element, to put into a page; notebooks show nodes by it.

    Where there is none (too many nodes, no Graphviz), it is one of the sentence that says why: a notebook that only
    wanted to show a node should not end in a traceback.
    """
    try:
        return element(graph)
    except (ValueError, RuntimeError) as reason:
        return SENTENCE.format(width=16 + 7 * len(str(reason)), text=html.escape(str(reason)))


def element(graph: graphviz.Digraph | Node | Sequence[Node]) -> str:
    """The picture of `graph` as an ``<svg>`` element. Raises as `draw` and `render` do."""
    text = _picture(graph, "svg").decode()
    return text[text.index("<svg") :]


def _picture(graph: graphviz.Digraph | Node | Sequence[Node], form: str) -> bytes:
    source = graph.source if isinstance(graph, graphviz.Digraph) else draw(graph).source
    if dot := shutil.which("dot"):
        command = [dot]
    elif importlib.util.find_spec("pygraphviz"):
        command = [sys.executable, "-P", "-c", WHEEL]
    else:
        raise RuntimeError(
            "render: expected Graphviz, found none; pip install 'twograd[see]', or install Graphviz with its dot"
        )
    with tempfile.TemporaryDirectory() as folder:
        try:
            done = subprocess.run(
                [*command, f"-T{form}", *SETTINGS[form]],
                input=source.encode(),
                capture_output=True,
                env=os.environ | _fonts(Path(folder)),
                check=False,
                timeout=PATIENCE,
            )
        except subprocess.TimeoutExpired:
            raise RuntimeError(
                f"render: Graphviz had no picture after {PATIENCE} seconds; draw a part, by depth= or collapse="
            ) from None
    if done.returncode or not done.stdout:
        said = done.stderr.decode(errors="replace").strip() or f"exit status {done.returncode}"
        raise RuntimeError(f"render: Graphviz failed: {said}")
    return done.stdout


def _fonts(folder: Path) -> dict[str, str]:
    """The environment that offers matplotlib's fonts to Graphviz, where matplotlib is installed."""
    matplotlib = importlib.util.find_spec("matplotlib")
    if not matplotlib or not matplotlib.origin:
        return {}
    fonts = Path(matplotlib.origin).parent / "mpl-data" / "fonts" / "ttf"
    usual = os.environ.get("FONTCONFIG_FILE", "/etc/fonts/fonts.conf")
    (folder / "fonts.conf").write_text(FONTS.format(usual=usual, fonts=fonts))
    return {"FONTCONFIG_FILE": str(folder / "fonts.conf")}
