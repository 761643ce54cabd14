"""Fashion-MNIST found, fetched, verified, read and batched. The network is 127.0.0.1, and apt a script."""

import contextlib
import gzip
import hashlib
import http.server
import io
import os
import socket
import socketserver
import struct
import subprocess
import sys
import threading
import time
import tracemalloc
from http.client import HTTPException
from itertools import islice
from pathlib import Path
from urllib.error import HTTPError

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from vector import datasets
from vector.datasets import CLASS_NAMES, Batches, fashion_mnist, fashion_mnist_sample, read_idx

CODES = {"u1": 0x08, "i1": 0x09, ">i2": 0x0B, ">i4": 0x0C, ">f4": 0x0D, ">f8": 0x0E}


def idx(array, code="u1"):
    """The IDX file of an array, written independently of the reader."""
    dimensions = b"".join(n.to_bytes(4, "big") for n in array.shape)
    return bytes([0, 0, CODES[code], array.ndim]) + dimensions + array.astype(code).tobytes()


def tiny_raws():
    """Four IDX files like the real ones, of 6 training and 3 test images."""
    values = np.arange(9 * 28 * 28).reshape(9, 28, 28) % 251
    classes = np.arange(9)
    return [idx(values[:6]), idx(classes[:6]), idx(values[6:]), idx(classes[6:])]


def sizes_and_sums(raws):
    return tuple(
        datasets._File(file.name, len(raw), hashlib.sha256(raw).hexdigest())
        for file, raw in zip(datasets.FILES, raws, strict=True)
    )


def fill(folder, raws, compress=True):
    folder.mkdir(parents=True, exist_ok=True)
    for file, raw in zip(datasets.FILES, raws, strict=True):
        if compress:
            (folder / f"{file.name}.gz").write_bytes(gzip.compress(raw))
        else:
            (folder / file.name).write_bytes(raw)
    return folder


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def house(tmp_path, monkeypatch):
    """A machine of its own: a tiny data set, an empty cache, no system folder, no mirror, no apt."""
    monkeypatch.setattr(datasets, "FILES", sizes_and_sums(tiny_raws()))
    monkeypatch.setattr(datasets, "MIRRORS", ())
    monkeypatch.setattr(datasets, "SYSTEM_FOLDER", tmp_path / "system")
    monkeypatch.setattr(datasets, "_cache_folder", lambda: tmp_path / "cache")
    monkeypatch.delenv("FASHION_MNIST", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return tmp_path


@pytest.fixture
def mirror():
    """`mirror({path: page})` starts a server and gives its address; `mirror.asked` holds all requests.

    A page is its content, or a list of pieces that come slowly, or a function that answers by itself.
    """
    servers = []

    def start(pages):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                start.asked.append(self.path)
                page = pages.get(self.path.lstrip("/"))
                with contextlib.suppress(ConnectionError):  # the client may hang up early
                    if callable(page):
                        return page(self)
                    self.send_response(404 if page is None else 200)
                    self.end_headers()
                    for chunk in page if isinstance(page, list) else [page or b""]:  # a list comes slowly
                        self.wfile.write(chunk)
                        time.sleep(0.05 * isinstance(page, list))

            def log_message(self, *args):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/"

    start.asked = []
    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def good_pages():
    return {f"{f.name}.gz": gzip.compress(r) for f, r in zip(datasets.FILES, tiny_raws(), strict=True)}


def is_tiny(data):
    return [idx(array) for array in data] == tiny_raws()


# Reading --------------------------------------------------------------------------------------------------


@given(
    st.sampled_from(sorted(CODES)).flatmap(
        lambda code: st.tuples(st.just(code), npst.arrays(np.dtype(code), npst.array_shapes(min_dims=0)))
    ),
    st.booleans(),
)
def test_read_idx_gives_back_what_was_written(tmp_path_factory, code_and_array, compress):
    code, array = code_and_array
    path = tmp_path_factory.getbasetemp() / "some.idx"
    path.write_bytes(gzip.compress(idx(array, code)) if compress else idx(array, code))
    back = read_idx(path)
    assert back.dtype == np.dtype(code).newbyteorder("=") and back.dtype.isnative
    assert back.flags.writeable
    np.testing.assert_array_equal(back, array)


@given(st.data())
def test_a_damaged_idx_file_is_a_clear_error_or_an_array_of_what_it_says(tmp_path_factory, data):
    raw = bytearray(idx(np.arange(24).reshape(2, 3, 4)))
    if data.draw(st.booleans(), label="gzip"):
        raw = bytearray(gzip.compress(bytes(raw)))
    for position in data.draw(st.lists(st.integers(0, len(raw) - 1), max_size=4), label="positions"):
        raw[position] = data.draw(st.integers(0, 255), label="byte")
    raw = raw[: data.draw(st.integers(0, len(raw)), label="length")] + data.draw(st.binary(max_size=3))
    path = tmp_path_factory.getbasetemp() / "damaged.idx"
    path.write_bytes(raw)
    try:
        array = read_idx(path)
    except ValueError as error:
        assert str(error).startswith(str(path))
    else:
        assert array.ndim <= 64


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "magic number.*got nothing"),
        (b"\0\0\x08", "magic number.*got 00 00 08"),
        (b"<!DOCTYPE html>", "magic number.*got 3c 21 44 4f"),
        (b"\0\0\x07\1" + bytes(8), "magic number.*got 00 00 07 01"),
        (b"\0\1\x08\1" + bytes(8), "magic number.*got 00 01 08 01"),
        (b"\0\0\x08\3" + bytes(8), "expected 3 dimensions in the header, but the file ends"),
        (idx(np.zeros((2, 3)))[:-1], r"expected 6 bytes for shape \(2, 3\), got 5: the file is truncated"),
        (idx(np.zeros((2, 3))) + b"\0", r"expected 6 bytes for shape \(2, 3\), got more: .* trailing bytes"),
        (b"\0\0\x08\xff" + bytes(4 * 255), "dimension"),
        (b"\0\0\x08\4" + bytes(4) + b"\xff" * 12, "array|dimension"),
        (gzip.compress(idx(np.arange(999)))[:-20], "truncated gzip"),
        (gzip.compress(idx(np.arange(999)))[:-8] + bytes(8), "corrupt gzip: CRC"),
        (gzip.compress(idx(np.arange(999)))[:10] + b"\xff" * 99, "corrupt gzip"),
        (gzip.compress(idx(np.arange(999))) + b"more", "corrupt gzip"),
    ],
)
def test_read_idx_says_what_is_wrong_with_which_file(tmp_path, content, message):
    path = tmp_path / "some-images"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"some-images: .*{message}"):
        read_idx(path)


def test_gunzip_never_expands_past_its_limit():
    bomb = gzip.compress(bytes(100_000_000))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="expected 1,000 bytes after gunzip, but more came"):
            datasets._raw_file(io.BytesIO(bomb), "bomb", datasets._File("bomb", 1000, ""))
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("compress", [True, False])
def test_a_file_is_read_no_further_than_its_header_says(tmp_path, compress):
    """However much follows, or is said to follow."""
    path = tmp_path / "numbers"
    much = bytes(30_000_000)
    for raw in (idx(np.zeros((2, 3))) + much, b"\0\0\x0e\3" + b"\xff" * 12 + b"short"):
        path.write_bytes(gzip.compress(raw) if compress else raw)
        tracemalloc.start()
        try:
            with pytest.raises(ValueError, match=r"got more: the file has trailing|got 5: the file is truncated"):
                read_idx(path)
            assert tracemalloc.get_traced_memory()[1] < 4_000_000
        finally:
            tracemalloc.stop()


# Finding --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compress", [True, False])
def test_own_folder_by_argument_or_environment(house, monkeypatch, compress):
    own = fill(house / "own", tiny_raws(), compress)
    assert is_tiny(fashion_mnist(own))
    monkeypatch.setenv("FASHION_MNIST", str(own))
    assert is_tiny(fashion_mnist())
    with pytest.raises(FileNotFoundError, match=r"elsewhere: expected train-images-idx3-ubyte\.gz or"):
        fashion_mnist(house / "elsewhere")  # the argument goes before the variable
    assert not (house / "cache").exists()


def test_an_own_folder_is_the_only_place_looked_in(house, monkeypatch):
    fill(house / "cache", tiny_raws())
    (house / "own").mkdir()
    monkeypatch.setenv("FASHION_MNIST", str(house / "own"))
    with pytest.raises(FileNotFoundError, match="own: expected"):
        fashion_mnist()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda raws: raws.__setitem__(0, raws[0][:-1] + b"\7"), "train-images.*expected SHA-256 .* got"),
        (lambda raws: raws.__setitem__(3, b"\0\0\x08\1\0\0\0\3\0\0\0"), "t10k-labels.*expected SHA-256"),
        (lambda raws: raws.__setitem__(1, raws[3]), "as many labels as images.*train-images.*train-labels"),
        (lambda raws: raws.__setitem__(2, raws[0]), r"t10k-images.*expected 2,368 bytes after gunzip"),
    ],
)
def test_a_broken_own_folder_is_named_and_left_alone(house, spoil, message):
    raws = tiny_raws()
    spoil(raws)
    own = fill(house / "own", raws)
    before = contents(own)
    with pytest.raises(ValueError, match=message) as error:
        fashion_mnist(own)
    assert "Nothing was removed" in str(error.value)
    assert contents(own) == before


def test_the_cache_goes_before_the_system_folder(house):
    system = fill(house / "system", tiny_raws())
    assert is_tiny(fashion_mnist())
    fill(house / "cache", tiny_raws())
    (system / f"{datasets.FILES[0].name}.gz").write_bytes(b"broken, and never looked at")
    assert is_tiny(fashion_mnist())


@pytest.mark.parametrize(
    ("platform", "variable", "expected"),
    [
        ("linux", "XDG_CACHE_HOME", "{base}/twograd/fashion-mnist"),
        ("linux", None, "{home}/.cache/twograd/fashion-mnist"),
        ("darwin", None, "{home}/Library/Caches/twograd/fashion-mnist"),
        ("win32", "LOCALAPPDATA", "{base}/twograd/fashion-mnist"),
    ],
)
def test_the_cache_folder_follows_the_platform(monkeypatch, tmp_path, platform, variable, expected):
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    if variable:
        monkeypatch.setenv(variable, str(tmp_path / "base"))
    wanted = expected.format(base=tmp_path / "base", home=tmp_path / "home")
    assert datasets._cache_folder() == Path(wanted)


# Fetching -------------------------------------------------------------------------------------------------


def test_fetches_into_the_cache_once(house, monkeypatch, mirror, capsys):
    monkeypatch.setattr(datasets, "MIRRORS", (mirror(good_pages()),))
    assert is_tiny(fashion_mnist())
    assert sorted(contents(house / "cache")) == sorted(good_pages())  # and no temporary file is left
    assert len(mirror.asked) == 4
    assert "fetching" in capsys.readouterr().err
    monkeypatch.setattr(datasets, "MIRRORS", ())
    assert is_tiny(fashion_mnist())


def answer(code=200, body=b"", **headers):
    """A page that answers with this code, these headers (a `_` for a `-`) and this body."""

    def page(handler):
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), str(value))
        handler.end_headers()
        handler.wfile.write(body)

    return page


def cut(good):
    """Half the file, then the connection is reset."""

    def page(handler):
        answer(200, good[: len(good) // 2], Content_Length=len(good))(handler)
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        handler.connection.close()

    return page


def stalled(good):
    """Half the file, then nothing until the client hangs up."""

    def page(handler):
        answer(200, good[: len(good) // 2], Content_Length=len(good))(handler)
        handler.connection.recv(1)

    return page


def endless(code=200, **headers):
    """An answer that ends when the client hangs up."""

    def page(handler):
        answer(code, **headers)(handler)
        while True:
            handler.wfile.write(bytes(1 << 16))

    return page


def to(place):
    """A redirect to an address, or to a path of the same server."""
    return answer(302, Location=place)


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
    pages, first = good_pages(), f"{datasets.FILES[0].name}.gz"
    return {**pages, first: {**BAD_ANSWERS, **BAD_CONNECTIONS}[fault](pages[first])}


@pytest.mark.parametrize("fault", [*BAD_ANSWERS, *BAD_CONNECTIONS])
def test_what_one_mirror_does_wrong_another_brings(house, monkeypatch, mirror, fault):
    monkeypatch.setattr(datasets, "CONNECT_SECONDS", 0.5)
    monkeypatch.setattr(datasets, "MIRRORS", (mirror(spoilt(fault)), mirror(good_pages())))
    assert is_tiny(fashion_mnist())
    assert sorted(contents(house / "cache")) == sorted(good_pages())
    first = f"/{datasets.FILES[0].name}.gz"
    asked = [path for path in mirror.asked if path in {f"/{name}" for name in good_pages()}]
    others = [f"/{file.name}.gz" for file in datasets.FILES[1:]]
    assert asked[-4:] == [first, *others] if fault in BAD_CONNECTIONS else asked[-4:] == [*others, first]


@pytest.mark.parametrize("fault", [*BAD_ANSWERS, *BAD_CONNECTIONS])
def test_a_bad_answer_is_never_kept(house, monkeypatch, mirror, fault):
    monkeypatch.setattr(datasets, "CONNECT_SECONDS", 0.5)
    good = good_pages()
    pages = {name: {**BAD_ANSWERS, **BAD_CONNECTIONS}[fault](page) for name, page in good.items()}
    address = mirror(pages)
    monkeypatch.setattr(datasets, "MIRRORS", (address,))
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
        datasets._download(address, datasets._File("file", 1000, ""), time.monotonic() + 60)
    if isinstance(error.value, HTTPError):
        error.value.close()


def test_redirects_are_followed(house, monkeypatch, mirror):
    elsewhere = mirror(good_pages())
    pages = {name: to(f"/moved/{name}") for name in good_pages()}
    pages |= {f"moved/{name}": to(f"{elsewhere}{name}") for name in good_pages()}
    monkeypatch.setattr(datasets, "MIRRORS", (mirror(pages),))
    assert is_tiny(fashion_mnist())


def test_a_file_announced_longer_than_it_is_may_be_whole(house, monkeypatch, mirror):
    pages = {name: answer(200, page, Content_Length=len(page) + 99) for name, page in good_pages().items()}
    monkeypatch.setattr(datasets, "MIRRORS", (mirror(pages),))
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

    url, file = f"{mirror({'file': page})}file", datasets._File("file", 1_000_000, "")
    tracemalloc.start()
    try:
        with pytest.raises((ValueError, OSError)) as error:
            datasets._download(url, file, time.monotonic() + 60)
        assert hung_up.wait(10)
        assert tracemalloc.get_traced_memory()[1] < 6_000_000
    finally:
        tracemalloc.stop()
    if isinstance(error.value, HTTPError):
        error.value.close()


def test_no_temporary_file_outlives_a_failed_rename(house, monkeypatch, mirror):
    def full(source, target):
        raise OSError("no space left")

    monkeypatch.setattr(datasets, "MIRRORS", (mirror(good_pages()), mirror(good_pages())))
    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match=r"cache folder.*no space left; set \$XDG_CACHE_HOME"):
        fashion_mnist()
    assert contents(house / "cache") == {}
    assert len(mirror.asked) == 1  # no mirror can help


@pytest.mark.skipif(sys.platform == "win32", reason="no limit of a file's size there")
def test_a_cache_that_fills_up_is_told_at_once(house, mirror):
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300)); fashion_mnist()"
    process = program(house, mirror(good_pages()), limit)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "OSError: expected a cache folder for Fashion-MNIST, got: [Errno 27] File too large; set $XDG" in said
    assert contents(house / "cache") == {}
    assert len(mirror.asked) == 1


def test_a_cache_on_a_read_only_disk_is_told_at_once(house, monkeypatch, mirror):
    monkeypatch.setattr(datasets, "MIRRORS", (mirror(good_pages()),))
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(OSError, match=r"no permission to write into .*cache; set \$XDG_CACHE_HOME"):
        fashion_mnist()
    assert not mirror.asked


def test_an_unreachable_mirror_is_asked_once(house, monkeypatch, mirror):
    gone = "http://127.0.0.1:9/"
    monkeypatch.setattr(datasets, "MIRRORS", (gone, mirror(good_pages())))
    asked, real_open = [], datasets._open
    monkeypatch.setattr(datasets, "_open", lambda url, s: asked.append(url) or real_open(url, s))
    assert is_tiny(fashion_mnist())
    assert sum(url.startswith(gone) for url in asked) == 1


def test_a_silent_mirror_is_given_up(house, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        monkeypatch.setattr(datasets, "CONNECT_SECONDS", 0.2)
        monkeypatch.setattr(datasets, "MIRRORS", (address,))
        with pytest.raises(FileNotFoundError, match=r"no answer within 0\.2 s|timed out"):
            fashion_mnist()


def test_a_name_that_is_looked_up_forever_is_given_up(house, monkeypatch):
    forever = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: forever.wait(60) and [])
    monkeypatch.setattr(datasets, "CONNECT_SECONDS", 0.2)
    monkeypatch.setattr(datasets, "MIRRORS", ("http://127.0.0.1:9/",))
    with pytest.raises(FileNotFoundError, match=r"no answer within 0\.2 s"):
        fashion_mnist()
    forever.set()


def test_the_deadline_ends_a_download(house, monkeypatch, mirror):
    slow = {name: [bytes([byte]) for byte in page[:30]] for name, page in good_pages().items()}
    monkeypatch.setattr(datasets, "MIRRORS", (mirror(slow), mirror(good_pages())))
    monkeypatch.setattr(datasets, "FETCH_SECONDS", 0.3)
    with pytest.raises(FileNotFoundError, match=r"not finished within 0\.3 s\n.*not begun within 0\.3 s"):
        fashion_mnist()
    assert len(mirror.asked) == 1


def test_a_bad_file_in_the_cache_is_reported_and_fetched_anew(house, monkeypatch, mirror):
    raws = tiny_raws()
    fill(house / "cache", raws)
    bad = house / "cache" / f"{datasets.FILES[1].name}.gz"
    bad.write_bytes(bad.read_bytes()[:-5])
    monkeypatch.setattr(datasets, "MIRRORS", (mirror(good_pages()),))
    with pytest.warns(UserWarning, match=r"train-labels-idx1-ubyte\.gz: truncated gzip"):
        assert is_tiny(fashion_mnist())
    assert mirror.asked == [f"/{bad.name}"]  # the three good files stay
    assert is_tiny(fashion_mnist())


def program(house, address, body):
    """A process of its own, with the tiny data set and one mirror, that runs `body`."""
    head = f"""
import os, sys
from pathlib import Path
from vector import datasets
from vector.datasets import _File, fashion_mnist
datasets.FILES = {datasets.FILES!r}
datasets.MIRRORS = ({address!r},)
datasets.SYSTEM_FOLDER = Path({str(house / "system")!r})
datasets._cache_folder = lambda: Path({str(house / "cache")!r})
"""
    return subprocess.Popen([sys.executable, "-c", head + body], stderr=subprocess.PIPE, text=True)


def test_two_processes_at_once_both_succeed(house, mirror):
    both = threading.Barrier(2)

    def when_both_ask(content):
        def page(handler):
            both.wait(60)
            answer(200, content)(handler)

        return page

    address = mirror({name: when_both_ask(page) for name, page in good_pages().items()})
    two = [program(house, address, "fashion_mnist()") for _ in range(2)]
    assert [(process.wait(60), "fetching" in process.communicate()[1]) for process in two] == [(0, True)] * 2
    assert len(mirror.asked) == 8
    assert sorted(contents(house / "cache")) == sorted(good_pages())
    assert is_tiny(fashion_mnist())


def test_killed_while_a_file_comes(house, monkeypatch, mirror):
    pages, under_way = good_pages(), threading.Event()
    name = f"{datasets.FILES[2].name}.gz"

    def page(handler):
        under_way.set()
        stalled(pages[name])(handler)

    process = program(house, mirror({**pages, name: page}), "fashion_mnist()")
    assert under_way.wait(60)
    process.kill()
    process.communicate()
    assert sorted(contents(house / "cache")) == sorted(list(pages)[:2])
    monkeypatch.setattr(datasets, "MIRRORS", (mirror(good_pages()),))
    assert is_tiny(fashion_mnist())
    assert sorted(contents(house / "cache")) == sorted(pages)


KILLED_EVERYWHERE = """
import itertools, shutil, signal
cache = datasets._cache_folder()
left = 0

def run(moment):
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    moments = itertools.count(1)
    def hook(event, args):  # before each step in the cache folder
        if event in ("open", "os.mkdir", "os.rename", "os.remove") and str(args[0]).startswith(str(cache)):
            if next(moments) == moment:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(hook)
    fashion_mnist()
    os._exit(0)

for moment in itertools.count(1):
    shutil.rmtree(cache, ignore_errors=True)
    code = run(moment)
    if code == 0:
        break
    assert code == -signal.SIGKILL, code
    for file in datasets.FILES:
        assert not (cache / f"{file.name}.gz").exists() or datasets._is_good(cache, file), (moment, file)
    left += len(list(cache.glob("*.part")))
    assert run(0) == 0, moment
    assert len(list(cache.glob("*.gz"))) == 4
assert moment > 20 and left >= 4, (moment, left)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="each kill happens in a fork")
def test_killed_before_each_step_in_the_cache(house, mirror):
    process = program(house, mirror(good_pages()), KILLED_EVERYWHERE)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said


def test_what_a_killed_process_left_is_removed_later(house, monkeypatch, mirror):
    (house / "cache").mkdir()
    old, young = house / "cache" / "old.part", house / "cache" / "young.part"
    for path in (old, young):
        path.write_bytes(b"half a file")
    hours_ago = time.time() - 7200
    os.utime(old, (hours_ago, hours_ago))
    monkeypatch.setattr(datasets, "MIRRORS", (mirror(good_pages()),))
    assert is_tiny(fashion_mnist())
    assert not old.exists() and young.exists()  # another process may be writing it


def test_without_any_way_the_error_names_all_three(house, monkeypatch):
    monkeypatch.setattr(datasets, "MIRRORS", ("http://127.0.0.1:9/",))
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
    monkeypatch.setattr(datasets, "_cache_folder", lambda: house / "cache" / below)
    with pytest.raises(OSError, match=r"cache folder.*XDG_CACHE_HOME.*FASHION_MNIST"):
        fashion_mnist()


# Debian ---------------------------------------------------------------------------------------------------

APT_GET = """#!/bin/sh
echo "$PWD: $*" >> {log}
cp apt.conf {log}.conf
[ "$3" = download ] && {download}
exit 0
"""
DPKG_DEB = """#!/bin/sh
PATH=/usr/bin:/bin
[ "$1 $2 $3" = "-x the.deb unpacked" ] || exit 3
mkdir -p unpacked/usr/share/datasets && cp -r {package} unpacked/usr/share/datasets/fashion-mnist
"""


def fake_apt(house, download=": > the.deb"):
    fill(house / "package", tiny_raws())
    log = house / "apt.log"
    scripts = {
        "apt-get": APT_GET.format(log=log, download=download).replace("cp ", "/bin/cp "),
        "dpkg-deb": DPKG_DEB.format(package=house / "package"),
    }
    for name, script in scripts.items():
        (house / "bin" / name).write_text(script)
        (house / "bin" / name).chmod(0o755)
    return log


needs_sh = pytest.mark.skipif(os.name != "posix", reason="the stand-in for apt is a shell script")


@needs_sh
def test_without_a_mirror_the_debian_package_is_taken(house):
    log = fake_apt(house)
    assert is_tiny(fashion_mnist())
    update, download = log.read_text().splitlines()
    home, _, arguments = update.partition(": ")
    assert arguments == "-c apt.conf update"
    assert download == f"{home}: -c apt.conf download dataset-fashion-mnist"
    assert not Path(home).exists()  # the private folder is gone
    assert sorted(contents(house / "cache")) == sorted(good_pages())
    conf = Path(f"{log}.conf").read_text()
    for setting in ("Dir::State", "Dir::State::lists", "Dir::State::status", "Dir::Cache"):
        assert f'{setting} "{home}/' in conf


@needs_sh
def test_a_failing_apt_is_quoted(house):
    fake_apt(house, download="{ echo 'E: Unable to locate package' >&2; exit 100; }")
    with pytest.raises(FileNotFoundError, match="apt-get failed with exit code 100: E: Unable to locate"):
        fashion_mnist()


@needs_sh
def test_an_apt_that_brings_nothing_is_told(house):
    fake_apt(house, download=":")
    with pytest.raises(FileNotFoundError, match=r"it brought no \.deb file"):
        fashion_mnist()


@needs_sh
def test_a_wrong_debian_package_is_not_kept(house):
    fake_apt(house)
    (house / "package" / f"{datasets.FILES[0].name}.gz").write_bytes(gzip.compress(b"another"))
    with pytest.raises(FileNotFoundError, match="train-images-idx3-ubyte: expected SHA-256"):
        fashion_mnist()
    assert contents(house / "cache") == {}


@pytest.mark.slow
def test_the_real_data_set_is_fetched_into_an_empty_cache(monkeypatch, tmp_path):
    monkeypatch.delenv("FASHION_MNIST", raising=False)
    monkeypatch.setattr(datasets, "_cache_folder", lambda: tmp_path)
    monkeypatch.setattr(datasets, "SYSTEM_FOLDER", tmp_path / "system")
    assert fashion_mnist().train_images.shape == (60_000, 28, 28)


# The data -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real():
    """The real data set where it is on this machine; never fetched."""
    own = os.environ.get("FASHION_MNIST")
    for place in [Path(own)] if own else [datasets._cache_folder(), datasets.SYSTEM_FOLDER]:
        try:
            return datasets._load(place)
        except FileNotFoundError:
            continue
    pytest.skip("Fashion-MNIST is not on this machine: vector.datasets.fashion_mnist() fetches it")


def test_the_real_data_set(real):
    assert [(a.shape, a.dtype) for a in real] == [
        ((60_000, 28, 28), np.uint8),
        ((60_000,), np.uint8),
        ((10_000, 28, 28), np.uint8),
        ((10_000,), np.uint8),
    ]
    assert np.bincount(real.train_labels).tolist() == [6000] * 10
    assert np.bincount(real.test_labels).tolist() == [1000] * 10
    assert CLASS_NAMES[real.train_labels[0]] == "Ankle boot"


def test_the_sample_is_the_first_hundred_of_each_class(real):
    rank = np.empty(60_000, int)
    for label in range(10):
        rank[real.train_labels == label] = np.arange(6000)
    sample = fashion_mnist_sample()
    for first, last, images, labels in [(0, 80, *sample[:2]), (80, 100, *sample[2:])]:
        rows = np.flatnonzero((first <= rank) & (rank < last))
        np.testing.assert_array_equal(images, real.train_images[rows])
        np.testing.assert_array_equal(labels, real.train_labels[rows])


def test_the_sample_stands_alone():
    sample = fashion_mnist_sample()
    assert [(a.shape, a.dtype) for a in sample] == [
        ((800, 28, 28), np.uint8),
        ((800,), np.uint8),
        ((200, 28, 28), np.uint8),
        ((200,), np.uint8),
    ]
    assert np.bincount(sample.train_labels).tolist() == [80] * len(CLASS_NAMES)
    assert np.bincount(sample.test_labels).tolist() == [20] * len(CLASS_NAMES)
    assert np.any(np.diff(sample.train_labels.astype(int)) < 0)  # not sorted by class
    assert "MIT License" in Path(datasets.__file__).with_name("fashion_mnist_sample.LICENSE").read_text()


def test_importing_stays_light():
    heavy = ("urllib.request", "http.client", "tqdm", "matplotlib", "ssl")
    program = (
        "import sys, numpy; before = set(sys.modules); import vector.datasets; "
        f"print([m for m in {heavy} if m in set(sys.modules) - before])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# Batches --------------------------------------------------------------------------------------------------


def numbered(n, dtype=np.uint8):
    """n images of 2 x 2, each filled with its own number, which is also its label."""
    numbers = np.arange(n, dtype=dtype)
    return np.broadcast_to(numbers[:, None, None], (n, 2, 2)).copy(), numbers.astype(np.uint8)


@given(
    n=st.integers(1, 40),
    batch_size=st.integers(1, 50),
    seed=st.integers(0, 2**32),
    shuffle=st.booleans(),
    drop_last=st.booleans(),
)
def test_an_epoch_has_every_image_once_with_its_own_label(n, batch_size, seed, shuffle, drop_last):
    if drop_last and batch_size > n:
        batch_size = n
    batches = Batches(*numbered(n), batch_size, seed, shuffle, scale=None, drop_last=drop_last)
    epoch = list(batches)
    assert len(epoch) == len(batches) == (n // batch_size if drop_last else -(-n // batch_size))
    assert all(len(labels) == batch_size for _, labels in epoch[: n // batch_size])
    for images, labels in epoch:
        assert images.dtype == np.float32 and labels.dtype == np.int64
        np.testing.assert_array_equal(images, np.broadcast_to(labels[:, None, None], images.shape))
    seen = np.concatenate([labels for _, labels in epoch])
    order = np.random.default_rng([seed, 0]).permutation(n) if shuffle else np.arange(n)
    np.testing.assert_array_equal(seen, order[: len(seen)])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_images_are_scaled_in_the_asked_dtype(dtype):
    images, labels = numbered(256)
    ((scaled, _),) = Batches(images, labels, 256, shuffle=False, dtype=dtype)
    assert scaled.dtype == dtype
    np.testing.assert_array_equal(scaled[:, 0, 0], np.arange(256, dtype=dtype) * dtype(1 / 255))
    assert scaled.min() == 0 and scaled.max() == 1


def test_float_images_pass_unscaled_with_scale_none():
    images, labels = numbered(5, np.float64)
    ((batch, _),) = Batches(images / 7, labels, 5, shuffle=False, scale=None, dtype=np.float64)
    np.testing.assert_array_equal(batch, images / 7)


def test_batches_are_fresh_arrays():
    images, labels = numbered(8)
    kept = list(Batches(images, labels, 4, scale=None))
    for batch, numbers in kept:  # no later batch has overwritten an earlier one
        np.testing.assert_array_equal(batch[:, 0, 0], numbers)
        batch += 1
        numbers += 1
    np.testing.assert_array_equal(images, numbered(8)[0])
    np.testing.assert_array_equal(labels, numbered(8)[1])


def test_epochs_differ_and_a_run_can_be_resumed():
    batches = Batches(*numbered(30), 4, seed=3)
    epochs = [[labels.tolist() for _, labels in batches] for _ in range(3)]
    assert batches.epoch == 3
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]
    again = Batches(*numbered(30), 4, seed=3)
    again.epoch = 1
    assert [labels.tolist() for _, labels in islice(again, 5, None)] == epochs[1][5:]
    assert [labels.tolist() for _, labels in again] == epochs[2]
    assert [labels.tolist() for _, labels in Batches(*numbered(30), 4, seed=4)] != epochs[0]


def test_an_epoch_left_early_is_over():
    batches = Batches(*numbered(30), 4)
    next(iter(batches))
    assert batches.epoch == 1


def test_the_data_set_is_never_copied():
    images, labels = np.zeros((10_000, 28, 28), np.uint8), np.zeros(10_000, np.uint8)
    tracemalloc.start()
    try:
        batches = Batches(images, labels, 32)
        for _ in islice(batches, 20):
            pass
        assert tracemalloc.get_traced_memory()[1] < images.nbytes / 10
    finally:
        tracemalloc.stop()
    assert batches.images is images or np.shares_memory(batches.images, images)


@pytest.mark.parametrize(
    ("images", "labels", "options", "error", "message"),
    [
        ((3, 2, 2), (4,), {}, ValueError, r"as many labels as images.*\(3, 2, 2\).*\(4,\)"),
        ((0, 2, 2), (0,), {}, ValueError, r"at least one image, got shape \(0, 2, 2\)"),
        ((3, 2, 2), (3,), {"batch_size": 0}, ValueError, "batch_size of 1 or more, got 0"),
        ((3, 2, 2), (3,), {"batch_size": 4, "drop_last": True}, ValueError, "one whole batch, got 3 images"),
    ],
)
def test_batches_refuse_what_cannot_work(images, labels, options, error, message):
    with pytest.raises(error, match=f"Batches: expected .*{message}"):
        Batches(np.zeros(images, np.uint8), np.zeros(labels, int), **{"batch_size": 2, **options})


@pytest.mark.parametrize("labels", [np.array([0.5, np.nan]), np.array([True, False]), np.array(["a", "b"])])
def test_labels_must_be_whole_numbers(labels):
    with pytest.raises(TypeError, match=f"labels as whole numbers, got {labels.dtype}"):
        Batches(np.zeros((2, 2, 2), np.uint8), labels, 1)
