"""The links of README.md and docs/*.md, the files that they name, and the links of the site built of them."""

import importlib
import inspect
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import get_origin
from urllib.parse import unquote, urldefrag

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))]
LINK = re.compile(r"\]\((?!\w+:)([^)\s]+)[^)]*\)")
NAMED = re.compile(r"`((?:\w+/)+[\w.]+\.(?:py|md|ipynb|html|js|svg|png|txt))\b")
FENCED = re.compile(r"(?ms)^```.*?^```")


def prose(page):
    return FENCED.sub("", page.read_text())


def anchors(page):
    """The anchors of a page's headings, as GitHub and the site make them."""
    headings = re.findall(r"(?m)^#+ (.+)$", prose(page))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken(page):
    """The links of a page that lead nowhere."""
    for link in LINK.findall(prose(page)):
        path, anchor = urldefrag(link)
        target = page.parent / path if path else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            yield link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_of_pages_lead_somewhere(page):
    assert list(broken(page)) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_named_on_pages_exist(page):
    names = set(NAMED.findall(prose(page)))
    assert [name for name in names if not (ROOT / name).exists() and not any(ROOT.glob(f"*/{name}"))] == []


def test_every_page_is_reached_from_the_first():
    reached = [PAGES[0]]
    for page in reached:
        links = {(page.parent / urldefrag(link)[0]).resolve() for link in LINK.findall(prose(page))}
        reached += [other for other in PAGES if other in links and other not in reached]
    assert set(reached) == set(PAGES)


def test_a_broken_link_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# A tensor's *inside*\n\n[a](#a-tensors-inside) [b](#b) [c](page.md#c) [d](d.py) [e](page.md)\n")
    assert list(broken(page)) == ["#b", "page.md#c", "d.py"]


class Reader(HTMLParser):
    """What a page of HTML links to and shows, and its anchors."""

    def __init__(self, path):
        super().__init__()
        self.links, self.shown, self.anchors = set(), set(), set()
        self.feed(path.read_text())

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name in ("href", "src") and value:
                self.links.add(value)
            if value and (name == "src" or (tag, name) == ("link", "href")):
                self.shown.add(value)
            if name in ("id", "name") and value:
                self.anchors.add(value)


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    """The folder with the site and the pages that it is made of."""
    pytest.importorskip("zensical")
    pytest.importorskip("mkdocstrings")
    folder = tmp_path_factory.mktemp("build").resolve()
    command = [sys.executable, str(ROOT / "docs/build.py"), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def pages(build):
    return {path: Reader(path) for path in (build / "site").rglob("*.html")}


def target_of(link, page, site):
    path, anchor = urldefrag(unquote(link))
    target = (site / path.lstrip("/") if path.startswith("/") else page.parent / path) if path else page
    return (target / "index.html" if target.is_dir() else target).resolve(), anchor


def test_links_of_the_site_lead_somewhere(build, pages):
    wrong = []
    for page, read in pages.items():
        for link in read.links:
            if re.match(r"\w+:|//", link):
                continue
            target, anchor = target_of(link, page, build / "site")
            if not target.exists() or (anchor and target in pages and anchor not in pages[target].anchors):
                wrong.append(f"{page.name}: {link}")
    assert wrong == []


def test_the_site_fetches_nothing(pages):
    assert [link for read in pages.values() for link in read.shown if re.match(r"https?:|//", link)] == []


def test_the_site_has_every_page_public_name_and_player(build, pages):
    assert {build / "site" / page.relative_to(ROOT).with_suffix(".html") for page in PAGES[1:]} <= set(pages)
    described = set().union(*(read.anchors for read in pages.values()))
    names = set()
    for page in (build / "pages/api").glob("*/*.md"):
        for module, options in re.findall(r"::: (\S+)\n    options: (.*)", page.read_text()):
            names |= {f"{module}.{name}" for name in json.loads(options)["members"]}
    assert len(names) > 200
    assert names <= described
    page = build / "site/docs/pictures.html"
    frames = {(page.parent / link).resolve() for link in pages[page].shown}
    played = {frame.name for frame in frames if frame in pages and "controls" in pages[frame].anchors}
    assert played == {"pictures-out.html", "pictures-neuron.html", "playground.html"}


PACKAGES = """scalar scalar.nn scalar.optim vector vector.nn vector.optim vector.training vector.datasets
vector.checkpoint vector.random vector.compiler vector.distributed vector.exchange vector.data.augment viz viz.plots"""


@pytest.mark.parametrize("package", PACKAGES.split())
def test_public_names_say_what_they_are(package):
    module = importlib.import_module(package)
    public = {name: getattr(module, name) for name in module.__all__}
    assert [name for name, x in public.items() if not get_origin(x) and not inspect.getdoc(x)] == []
