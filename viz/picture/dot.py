"""Graphviz: from DOT text to SVG, PNG or PDF, by `dot` where there is one, else by the pygraphviz wheel."""

import html
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import graphviz

__all__ = ["CELL", "FORMATS", "Picture", "element", "image", "sentence", "tidy"]

FORMATS = {"svg": [], "png": ["-Gdpi=192"], "pdf": []}  # twice the screen's 96 dots an inch: sharp when enlarged

CELL = 100_000  # characters: more makes a notebook slow to open and to save
CARD = re.compile(r'<path (?P<paint>fill="#\w+" stroke="#\w+"(?: stroke-width="\d+")?) d="(?P<path>M[^"]*)"/>')

PATIENCE = 60  # seconds: some thousand nodes with edges all over take Graphviz longer than a person waits

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


class Picture(graphviz.Digraph):
    """A graph that a notebook shows by the same Graphviz as `viz.render`, with or without a `dot` on the machine.

    Where a cell could not hold it, `smaller`, if there is one, gives an element to show in its place, with a note.
    """

    smaller: Callable[[str], str] | None = None

    def _repr_mimebundle_(self, include: object = None, exclude: object = None, **_: object) -> dict[str, str]:
        try:
            picture = tidy(element(self.source))
        except RuntimeError as reason:
            return {"image/svg+xml": sentence(str(reason))}
        if len(picture) > CELL:
            size = f"{len(picture) // 1000:,} kB"
            note = f"The whole picture, {size}, is too much for a cell: viz.render writes it to a file"
            picture = self.smaller(note) if self.smaller else sentence(note)
        return {"image/svg+xml": picture}


def element(source: str) -> str:
    """The picture of DOT text as an ``<svg>`` element, without what Graphviz says again at every card. It has the names
    of nodes and edges as titles. Raises as `image` does.
    """
    text = image(source, "svg").decode()
    text = re.sub(r"<!-- .* -->\n| xml:space=\"preserve\"", "", text[text.index("<svg") :])
    text = re.sub(r'(?<=")(-?\d+)\.00(?=")', r"\1", CARD.sub(_short, text))
    font = re.search(r' font-family="[^"]*"', text)
    return text.replace(font[0], "").replace(" xmlns=", f"{font[0]} xmlns=", 1) if font else text


def tidy(svg: str) -> str:
    """An element without titles, which browsers show as tooltips."""
    return re.sub(r"<title>.*</title>\n", "", svg)


def _short(card: re.Match[str]) -> str:
    """The frame of a card, of lines and arcs where Graphviz writes sixteen points."""
    places = [float(number) for number in re.findall(r"-?[\d.]+", card["path"])]
    (left, right), (top, bottom) = ((min(axis), max(axis)) for axis in (places[0::2], places[1::2]))
    r = min(9.0, (bottom - top) / 3)
    across, down = right - left - 2 * r, bottom - top - 2 * r
    corners = [f"a{r:.4g},{r:.4g} 0 0 1 {x}{r:.4g},{y}{r:.4g}" for x, y in (("", ""), ("-", ""), ("-", "-"), ("", "-"))]
    sides = [f"h{across:.6g}", f"v{down:.6g}", f"h{-across:.6g}", f"v{-down:.6g}"]
    parts = "".join(side + corner for side, corner in zip(sides, corners, strict=True))
    return f'<path {card["paint"]} d="M{left + r:g},{top:g}{parts}z"/>'


def sentence(text: str) -> str:
    """A sentence in place of a picture, as an ``<svg>`` element."""
    return SENTENCE.format(width=16 + 7 * len(text), text=html.escape(text))


def image(source: str, form: str) -> bytes:
    """The picture of DOT text in one of `FORMATS`.

    Raises RuntimeError when there is no Graphviz, when it fails on this graph, and when it takes longer than a minute.
    """
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
                [*command, f"-T{form}", *FORMATS[form]],
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
    if shrunk := re.search(rb"Scaling by ([\d.]+) to fit", done.stderr):
        percent = f"{float(shrunk[1]):.0%}"
        warnings.warn(
            f"render: the picture is larger than a PNG can be, and shrunk to {percent}; .svg and .pdf have no limit",
            stacklevel=3,
        )
    if done.returncode or not done.stdout:
        reason = done.stderr.decode(errors="replace").strip() or f"exit status {done.returncode}"
        raise RuntimeError(f"render: Graphviz failed: {reason}")
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
