"""Fetching: what mirrors do wrong and what goes wrong in the cache."""

import contextlib
import gzip
import os
import socket
import socketserver
import sys
import threading
import time
import tracemalloc
from http.client import HTTPException
from urllib.error import HTTPError

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_mnist import (
    answer,
    contents,
    cut,
    endless,
    fill,
    good_pages,
    idx,
    is_tiny,
    program,
    stalled,
    tiny_raws,
    to,
    use_mirrors,
)

from vector.data import download
from vector.data import fashion_mnist as mnist
from vector.data.download import File
from vector.datasets import fashion_mnist


def test_fetches_into_the_cache_once(house, monkeypatch, mirror, capsys):
    use_mirrors(monkeypatch, mirror(good_pages()))
    assert is_tiny(fashion_mnist())
    assert sorted(contents(house / "cache")) == sorted(good_pages())  # and no temporary file is left
    assert len(mirror.asked) == 4
    assert "fetching" in capsys.readouterr().err
    use_mirrors(monkeypatch)
    assert is_tiny(fashion_mnist())


BAD_ANSWERS = {  # each of one file; where `good` is the right one
    "missing": lambda good: None,
    "error 500": lambda good: answer(500, b"try later"),
    "empty": lambda good: b"",
    "html": lambda good: b"<html>Sign in to this network</html>",
    "truncated": lambda good: good[:-9],
    "announced shorter": lambda good: answer(200, good, Content_Length=len(good) // 2),
    "announced longer, and cut there": lambda good: answer(200, good[:-1], Content_Length=len(good) + 50),
    "announced far too long": lambda good: answer(200, good, Content_Length=10**4000),
    "another file": lambda good: gzip.compress(idx(np.zeros((6, 28, 28)))),
    "another file, not gzipped": lambda good: idx(np.zeros((6, 28, 28))),
    "another file of the same length": lambda good: good[:-12] + bytes([good[-12] ^ 1]) + good[-11:],
    "longer": lambda good: good + bytes(1 << 20),
    "endless": lambda good: endless(),
    "bomb": lambda good: gzip.compress(bytes(1 << 22)),
    "noise": lambda good: lambda handler: handler.wfile.write(good),
    "a long reason": lambda good: (
        lambda handler: handler.wfile.write(b"HTTP/1.0 500 " + b"\r" * 9 + b"no " * 9000 + b"\n")
    ),
    "redirect to nowhere": lambda good: to("/nowhere"),
    "redirect to itself": lambda good: to(""),
    "redirect to a file": lambda good: to("file:///etc/hostname"),
    "redirect to ftp": lambda good: to("ftp://127.0.0.1/file"),
    "redirect to a data address": lambda good: to("data:,hello"),
    "redirect without a host": lambda good: to("http:nothing"),
    "redirect to no address": lambda good: to("http://[::1"),
}
BAD_CONNECTIONS = {  # after one of these, the mirror is not asked for the next file
    "reset": cut,
    "stalled": stalled,
}


def spoilt(fault):
    """The pages of a mirror whose first file has the fault."""
    pages, first = good_pages(), f"{mnist.SOURCE.files[0].name}.gz"
    return {**pages, first: {**BAD_ANSWERS, **BAD_CONNECTIONS}[fault](pages[first])}


@pytest.mark.parametrize("fault", [*BAD_ANSWERS, *BAD_CONNECTIONS])
def test_what_one_mirror_does_wrong_another_brings(house, monkeypatch, mirror, fault):
    monkeypatch.setattr(download, "CONNECT_SECONDS", 0.5 if fault == "stalled" else 30.0)
    use_mirrors(monkeypatch, mirror(spoilt(fault)), mirror(good_pages()))
    assert is_tiny(fashion_mnist())
    assert sorted(contents(house / "cache")) == sorted(good_pages())
    first = f"/{mnist.SOURCE.files[0].name}.gz"
    asked = [path for path in mirror.asked if path in {f"/{name}" for name in good_pages()}]
    others = [f"/{file.name}.gz" for file in mnist.SOURCE.files[1:]]
    assert asked[-4:] == [first, *others] if fault in BAD_CONNECTIONS else asked[-4:] == [*others, first]


@pytest.mark.parametrize("fault", [*BAD_ANSWERS, *BAD_CONNECTIONS])
def test_a_bad_answer_is_never_kept(house, monkeypatch, mirror, fault):
    monkeypatch.setattr(download, "CONNECT_SECONDS", 0.5 if fault == "stalled" else 30.0)
    good = good_pages()
    pages = {name: {**BAD_ANSWERS, **BAD_CONNECTIONS}[fault](page) for name, page in good.items()}
    address = mirror(pages)
    use_mirrors(monkeypatch, address)
    with pytest.raises(FileNotFoundError, match="could not be fetched") as error:
        fashion_mnist()
    tried = str(error.value).partition("What was tried:\n")[2].splitlines()
    assert [line.strip().split(": ")[0] for line in tried[:-1]] == [
        f"{address}{name}" for name in (good if fault in BAD_ANSWERS else list(good)[:1])
    ]
    assert all(len(line) < 600 for line in tried)
    assert contents(house / "cache") == {}


class Talker(socketserver.StreamRequestHandler):
    def handle(self):
        with contextlib.suppress(ConnectionError):
            while self.rfile.readline().strip():
                pass
            self.wfile.write(self.server.says)


@pytest.fixture(scope="module")
def talker():
    """A server that answers every request with the bytes `says`."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Talker) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        yield server
        server.shutdown()


HTTP_WORDS = [
    *(f"HTTP/1.1 {code} \r\n".encode() for code in (100, 200, 204, 206, 301, 308, 401, 407, 416, 999)),
    *(b"Content-Length: ", b"Transfer-Encoding: chunked\r\n", b"Location: ", b"Content-Encoding: gzip\r\n", b"\r\n"),
    *(b"5\r\nhello\r\n0\r\n", b"-1\r\n", b"\xb2\r\n", b"9" * 5000, b"/again\r\n", b"http://[", b"//", b"\n\t", b":"),
    *(b"WWW-Authenticate: Basic realm=x\r\n", b"\x1f\x8b\x08", b"\0" * 70_000),
]


@given(says=st.lists(st.one_of(st.sampled_from(HTTP_WORDS), st.binary(max_size=9)), max_size=12).map(b"".join))
def test_whatever_a_mirror_says_is_one_of_the_expected_errors(talker, says):
    talker.says = says
    with (
        pytest.MonkeyPatch.context() as patch,
        pytest.raises((OSError, HTTPException, ValueError)) as error,
    ):
        patch.setenv("no_proxy", "127.0.0.1")
        address = f"http://127.0.0.1:{talker.server_address[1]}/file"
        download.download(address, File("file", 1000, ""), time.monotonic() + 60)
    if isinstance(error.value, HTTPError):
        error.value.close()


def test_redirects_are_followed(house, monkeypatch, mirror):
    elsewhere = mirror(good_pages())
    pages = {name: to(f"/moved/{name}") for name in good_pages()}
    pages |= {f"moved/{name}": to(f"{elsewhere}{name}") for name in good_pages()}
    use_mirrors(monkeypatch, mirror(pages))
    assert is_tiny(fashion_mnist())


def test_a_file_announced_longer_than_it_is_may_be_whole(house, monkeypatch, mirror):
    pages = {name: answer(200, page, Content_Length=len(page) + 99) for name, page in good_pages().items()}
    use_mirrors(monkeypatch, mirror(pages))
    assert is_tiny(fashion_mnist())


@pytest.mark.parametrize("fault", ["bomb", "endless", "endless redirect"])
def test_no_answer_takes_more_memory_than_the_file(house, monkeypatch, mirror, fault):
    """A gigabyte in a megabyte, or no end at all, where a million bytes are expected."""
    bomb = gzip.compress(bytes(1 << 24)) * 60
    pages = {
        "bomb": answer(200, bomb),
        "endless": endless(),
        "endless redirect": endless(302, Location="/nowhere"),
    }
    hung_up = threading.Event()

    def page(handler):
        try:
            pages[fault](handler)
        finally:
            hung_up.set()

    url, file = f"{mirror({'file': page})}file", File("file", 1_000_000, "")
    tracemalloc.start()
    try:
        with pytest.raises((ValueError, OSError)) as error:
            download.download(url, file, time.monotonic() + 60)
        assert hung_up.wait(10)
        assert tracemalloc.get_traced_memory()[1] < 6_000_000
    finally:
        tracemalloc.stop()
    if isinstance(error.value, HTTPError):
        error.value.close()


def test_no_temporary_file_outlives_a_failed_rename(house, monkeypatch, mirror):
    def full(source, target):
        raise OSError("no space left")

    use_mirrors(monkeypatch, mirror(good_pages()), mirror(good_pages()))
    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match=r"cache folder.*no space left.*; set \$XDG_CACHE_HOME"):
        fashion_mnist()
    assert contents(house / "cache") == {}
    assert len(mirror.asked) == 1  # no mirror can help


@pytest.mark.skipif(sys.platform == "win32", reason="no limit of a file's size there")
def test_a_cache_that_fills_up_is_told_at_once(house, mirror):
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300)); fashion_mnist()"
    process = program(house, mirror(good_pages()), limit)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "OSError: expected a cache folder for Fashion-MNIST, got: [Errno 27] File too large: " in said
    assert "; set $XDG_CACHE_HOME to a folder" in said
    assert contents(house / "cache") == {}
    assert len(mirror.asked) == 1


def test_a_cache_on_a_read_only_disk_is_told_at_once(house, monkeypatch, mirror):
    use_mirrors(monkeypatch, mirror(good_pages()))
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(OSError, match=r"no permission to write into .*cache; set \$XDG_CACHE_HOME"):
        fashion_mnist()
    assert not mirror.asked


def test_an_unreachable_mirror_is_asked_once(house, monkeypatch, mirror):
    gone = "http://127.0.0.1:9/"
    use_mirrors(monkeypatch, gone, mirror(good_pages()))
    asked, real_open = [], download.open_url
    monkeypatch.setattr(download, "open_url", lambda url, s: asked.append(url) or real_open(url, s))
    assert is_tiny(fashion_mnist())
    assert sum(url.startswith(gone) for url in asked) == 1


def test_a_silent_mirror_is_given_up(house, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        monkeypatch.setattr(download, "CONNECT_SECONDS", 0.2)
        use_mirrors(monkeypatch, address)
        with pytest.raises(FileNotFoundError, match=r"no answer within 0\.2 s|timed out"):
            fashion_mnist()


def test_a_name_that_is_looked_up_forever_is_given_up(house, monkeypatch):
    forever = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: forever.wait(60) and [])
    monkeypatch.setattr(download, "CONNECT_SECONDS", 0.2)
    use_mirrors(monkeypatch, "http://127.0.0.1:9/")
    with pytest.raises(FileNotFoundError, match=r"no answer within 0\.2 s"):
        fashion_mnist()
    forever.set()


def test_the_deadline_ends_a_download(house, monkeypatch, mirror):
    slow = {name: [bytes([byte]) for byte in page[:30]] for name, page in good_pages().items()}
    use_mirrors(monkeypatch, mirror(slow), mirror(good_pages()))
    monkeypatch.setattr(download, "FETCH_SECONDS", 0.3)
    with pytest.raises(FileNotFoundError, match=r"not finished within 0\.3 s\n.*not begun within 0\.3 s"):
        fashion_mnist()
    assert len(mirror.asked) == 1


def test_a_bad_file_in_the_cache_is_reported_and_fetched_anew(house, monkeypatch, mirror):
    raws = tiny_raws()
    fill(house / "cache", raws)
    bad = house / "cache" / f"{mnist.SOURCE.files[1].name}.gz"
    bad.write_bytes(bad.read_bytes()[:-5])
    use_mirrors(monkeypatch, mirror(good_pages()))
    with pytest.warns(UserWarning, match=r"train-labels-idx1-ubyte\.gz: truncated gzip"):
        assert is_tiny(fashion_mnist())
    assert mirror.asked == [f"/{bad.name}"]  # the three good files stay
    assert is_tiny(fashion_mnist())


def test_without_any_way_the_error_names_all_three(house, monkeypatch):
    use_mirrors(monkeypatch, "http://127.0.0.1:9/")
    with pytest.raises(FileNotFoundError) as error:
        fashion_mnist()
    for needed in (
        "fashion_mnist(folder)",
        "$FASHION_MNIST",
        "train-images-idx3-ubyte.gz",
        "apt-get install dataset-fashion-mnist",
        "http://127.0.0.1:9/",
        "Connection refused",
        "apt-get is not on PATH",
    ):
        assert needed in str(error.value)


@pytest.mark.parametrize("below", ["", "twograd/fashion-mnist"])
def test_a_cache_that_cannot_be_made_is_a_clear_error(house, monkeypatch, below):
    (house / "cache").write_text("a file stands where the folder should be")
    monkeypatch.setattr(download.Source, "cache", house / "cache" / below)
    with pytest.raises(OSError, match=r"cache folder.*XDG_CACHE_HOME.*FASHION_MNIST"):
        fashion_mnist()
