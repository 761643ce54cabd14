"""Build the site: `python docs/build.py` writes it to build/site/, `python docs/build.py FOLDER` to FOLDER/site/.

README.md and docs/*.md are its pages, unchanged: the site has the project's folders, so that their links hold. Files
and pages that they link to come along. The pages of the API show the public names (`__all__`), as `API` sorts them.

`<!-- live: out -->` on a line of a page becomes a player: the sessions above it are run, and `out` is played.
`<!-- live: PATH -->` shows a page of HTML.
"""

import ast
import doctest
import importlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import griffe

ROOT = Path(__file__).parents[1]

# The pages of each package: where their names are imported from, and the modules that define them.
API = {
    "scalar": {
        "scalar": ("scalar", "value op autodiff transforms losses anomaly"),
        "ops": ("scalar", "ops"),
        "nn": ("scalar.nn", "nn.base nn.dense nn.convolution nn.sequence nn.norm"),
        "optim": ("scalar.optim", "optim"),
    },
    "vector": {
        "vector": ("vector", "tensor op autodiff losses anomaly gradcheck errors"),
        "transforms": ("vector", "transforms"),
        **{f"ops.{x}": ("vector", f"ops.{x}") for x in "elementwise shapes axes products linalg convolution".split()},
        "nn": (
            "vector.nn",
            "nn.base nn.dense nn.convolution nn.recurrent nn.attention nn.embedding nn.norm nn.dropout nn.combine"
            " nn.initial",
        ),
        "optim": ("vector.optim", "optim schedules"),
        "training": ("vector.training", "training.sequential training.callbacks training.finder"),
        "checkpoint": ("vector.checkpoint", "training.checkpoint"),
        "datasets": ("vector.datasets", "data.batches data.fashion_mnist data.mnist data.tables data.idx"),
        "datasets.augment": ("vector.data.augment", "data.augment"),
        "random": ("vector.random", "random"),
        "compile": ("vector.compiler", "compiler.step compiler.verify"),
        "distributed": ("vector.distributed", "distributed"),
        "exchange": ("vector.exchange", "exchange"),
    },
    "viz": {
        "viz": ("viz", "player.page maths.steps maths.formula picture.draw picture.render zoom nodes"),
        "plots": ("viz.plots", "plots"),
    },
}
LINK = re.compile(r"\]\((?!\w+:|#)([^)#\s]+)[^)]*\)")
LIVE = re.compile(r"^<!-- live: (.+) -->$", re.M)
FRAME = '<iframe class="live" src="{}" title="{}" loading="lazy"></iframe>'


def linked() -> list[Path]:
    """README.md, the files and pages that it links to, what those link to, and so on; then the other pages in docs/."""
    found: list[Path] = []
    for start in (ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))):
        waiting = [start]
        for path in waiting:
            if path not in found and path.is_file():
                found.append(path)
                if path.suffix == ".md":
                    waiting += [(path.parent / target).resolve() for target in LINK.findall(path.read_text())]
    return found


def with_players(page: Path) -> tuple[str, dict[str, str]]:
    """The text of a page of Markdown with frames in the place of markers; the players to show there, by file name.

    Raises DocTestFailure if a session does not print what it says.
    """
    text, players = page.read_text(), {}

    def frame(marker: re.Match[str]) -> str:
        what = marker[1]
        if not what.isidentifier():
            return FRAME.format(what, Path(what).stem)
        session = doctest.DocTestParser().get_doctest(text[: marker.start()], {}, page.name, str(page), 0)
        doctest.DebugRunner(verbose=False).run(session, clear_globs=False)
        name = f"{page.stem}-{what}.html"
        players[name] = importlib.import_module("viz").play(session.globs[what]).html
        return FRAME.format(name, f"{what}, played")

    return LIVE.sub(frame, text), players


def public(package: str) -> list[str]:
    """The names of `__all__`, but for modules."""
    module = importlib.import_module(package)
    return [name for name in module.__all__ if not isinstance(getattr(module, name), ModuleType)]


def defined(module: str) -> list[str]:
    """The names that a module defines, in its order."""
    tree = ast.parse(Path(importlib.import_module(module).__file__ or "").read_text())
    names: list[str] = []
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.append(node.name)
        elif isinstance(node, ast.Assign):
            names += [target.id for target in node.targets if isinstance(target, ast.Name)]
    return list(dict.fromkeys(names))


def reference() -> dict[str, str]:
    """The pages of the API by file name. Raises ValueError for public names that stand on none."""
    written, shown, wanted = {}, set(), set()
    for package, pages in API.items():
        for title, (source, modules) in pages.items():
            wanted |= {(package, name) for name in public(source)}
            parts = [f"# {package if title == package else f'{package}.{title}'}", f"Import these from `{source}`."]
            for module in modules.split():
                names = [name for name in defined(f"{package}.{module}") if name in public(source)]
                shown |= {(package, name) for name in names}
                options = {"members": names, "show_root_heading": " " in modules}
                parts.append(f"::: {package}.{module}\n    options: {json.dumps(options)}")
            written[f"api/{package}/{title}.md"] = "\n\n".join(parts)
    if missing := wanted - shown:
        raise ValueError(f"on no page of the API: {sorted(missing)}; see API in docs/build.py")
    return written


def assemble(folder: Path) -> None:
    """Write to `folder` all pages, and the configuration with the menu."""
    pages = folder / "pages"
    shutil.rmtree(pages, ignore_errors=True)
    sources = linked()
    for path in dict.fromkeys([*sources, ROOT / "examples/playground.html", ROOT / "docs/site.css"]):
        target = pages / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".md":
            text, players = with_players(path)
            for name, content in {target.name: text, **players}.items():
                target.with_name(name).write_text(content)
        else:
            shutil.copyfile(path, target)
    for name, text in reference().items():
        (pages / name).parent.mkdir(parents=True, exist_ok=True)
        (pages / name).write_text(text)
    guide = [str(path.relative_to(ROOT)) for path in sources if path.suffix == ".md"]
    api = [{package: [{title: f"api/{package}/{title}.md"} for title in API[package]]} for package in API]
    nav = [{"Guide": guide}, {"API": api}, {"Playground": "examples/playground.html"}]
    settings = (ROOT / "docs/site.yml").read_text().replace("ROOT", str(ROOT))
    (folder / "mkdocs.yml").write_text(f"{settings}\nnav: {json.dumps(nav)}\n")


class Docstrings(griffe.Extension):
    """Makes Markdown of what docstrings write as plain text: sessions, and rows of names and meanings."""

    SESSION = re.compile(r"(?m)^>>> (?:.+\n?)+")
    ROWS = re.compile(r"(?m)(?:^\w+(?:, \w+)* {2,}\S.*\n?(?:^ {4,}\S.*\n?)*){2,}")
    NAME = re.compile(r"(?m)^(\w+(?:, \w+)*) {2,}")

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring:
            text = self.SESSION.sub(lambda session: f"```pycon\n{session[0].rstrip()}\n```\n", obj.docstring.value)
            obj.docstring.value = self.ROWS.sub(lambda rows: "\n" + self.NAME.sub(r"- `\1`: ", rows[0]) + "\n", text)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))  # what is described and played is what stands here
    folder = Path(*sys.argv[1:2] or [ROOT / "build"])
    assemble(folder)
    command = [sys.executable, "-m", "zensical", "build", "--clean", "--strict", "-f", "mkdocs.yml"]
    sys.exit(subprocess.run(command, cwd=folder, check=False).returncode)
