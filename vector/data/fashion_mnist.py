"""Fashion-MNIST, found, fetched, verified and read; and batches of it.

>>> train_images, train_labels, test_images, test_labels = fashion_mnist_sample()
>>> train_images.shape, train_images.dtype
((800, 28, 28), dtype('uint8'))
>>> images, labels = next(iter(Batches(train_images, train_labels, batch_size=32)))
>>> images.shape, images.dtype, labels.shape
((32, 28, 28), dtype('float32'), (32,))

The data set: Xiao, Rasul and Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine
Learning Algorithms", 2017. What only fetching needs is imported there, so that `import vector` stays light.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from http.client import HTTPResponse


__all__ = ["CLASS_NAMES", "FashionMNIST", "fashion_mnist", "fashion_mnist_sample", "read_idx"]

CLASS_NAMES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip


class FashionMNIST(NamedTuple):
    """Images of 28 x 28 grey values, 0 the background, and their classes, each an index of CLASS_NAMES."""

    train_images: np.ndarray  # uint8 (60000, 28, 28)
    train_labels: np.ndarray  # uint8 (60000,)
    test_images: np.ndarray  # uint8 (10000, 28, 28)
    test_labels: np.ndarray  # uint8 (10000,)


class _File(NamedTuple):
    """One of the four IDX files. Size and checksum are those after gunzip, since gzip headers differ."""

    name: str
    size: int
    sha256: str


FILES = (  # in the order of FashionMNIST's fields
    _File("train-images-idx3-ubyte", 47_040_016,
          "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"),
    _File("train-labels-idx1-ubyte", 60_008,
          "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"),
    _File("t10k-images-idx3-ubyte", 7_840_016,
          "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"),
    _File("t10k-labels-idx1-ubyte", 10_008,
          "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"),
)  # fmt: skip
MIRRORS = (  # the data set's own repository, its authors' storage, TensorFlow's copy; all judged by checksum
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
)
DEBIAN_PACKAGE = "dataset-fashion-mnist"
DEBIAN_FOLDER = "usr/share/datasets/fashion-mnist"
SYSTEM_FOLDER = Path("/") / DEBIAN_FOLDER
CONNECT_SECONDS = 5.0  # for a mirror to begin its answer
FETCH_SECONDS = 600.0  # for everything


def fashion_mnist(folder: str | os.PathLike[str] | None = None) -> FashionMNIST:
    """The 60,000 training and 10,000 test images, every byte verified by SHA-256.

    Looks in `folder`, or else in `$FASHION_MNIST`; where one of them is given, only there. Otherwise looks in
    the user's cache folder, then in /usr/share/datasets/fashion-mnist, and at last fetches the files (30 MB)
    into the cache: from a mirror or, with none in reach, out of the Debian package by `apt-get download`,
    which needs no root. No file outside the cache is written or removed.

    Raises FileNotFoundError, naming all that was tried, if files are missing and cannot be fetched; OSError if the
    cache cannot be written; ValueError if a file is broken.
    """
    own = folder if folder is not None else os.environ.get("FASHION_MNIST")
    if own:
        try:
            return _load(Path(own).expanduser())
        except ValueError as problem:
            hint = "Nothing was removed. Put a good copy there, or name no folder to have one fetched."
            raise ValueError(f"{problem}\n{hint}") from problem
    cache = _cache_folder()
    for place in (cache, SYSTEM_FOLDER):
        try:
            return _load(place)
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as problem:
            note = "not used: the data set is looked for elsewhere, then fetched anew"
            warnings.warn(f"{problem} ({note})", stacklevel=2)
    _fetch(cache)
    return _load(cache)


def fashion_mnist_sample() -> FashionMNIST:
    """1,000 real images that ship with the package, 100 a class: 800 to train on, 200 to test on.

    They are the first 100 images of each class in the training file, kept in file order, so that the classes
    come mixed: the first 80 of a class are for training, the next 20 for testing. None is from the test file.
    """
    with np.load(Path(__file__).with_name("fashion_mnist_sample.npz"), allow_pickle=False) as arrays:
        return FashionMNIST(*(arrays[field] for field in FashionMNIST._fields))


# Reading --------------------------------------------------------------------------------------------------


def read_idx(path: str | os.PathLike[str]) -> np.ndarray:
    """The array in an IDX file, gzipped or not, in the machine's byte order.

    An IDX file is two zero bytes, a dtype code, the number of dimensions, each dimension as a big-endian
    uint32; then the elements, big-endian, the last dimension fastest. Raises ValueError, naming the file, for
    any other. Never reads, or gunzips, more than one byte past the elements that the header announces.
    """
    name = os.fspath(path)
    with open(path, "rb") as stream:
        *_, start, size = _idx_header(_raw_bytes(stream, name, _IDX_LONGEST_HEADER), name)
        return _parse_idx(_raw_bytes(stream, name, start + size + 1), name)


_IDX_DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_IDX_LONGEST_HEADER = 4 + 4 * 255


def _idx_header(raw: bytearray, name: str) -> tuple[np.dtype, tuple[int, ...], int, int]:
    """The elements' dtype, their shape, where they begin, and how many bytes they take."""
    if len(raw) < 4 or raw[:2] != b"\0\0" or raw[2] not in _IDX_DTYPES:
        magic = "the magic number of an IDX file (00 00, a dtype code, the number of dimensions)"
        raise ValueError(f"{name}: expected {magic}, got {raw[:4].hex(' ') or 'nothing'}")
    dtype, ndim = np.dtype(_IDX_DTYPES[raw[2]]), raw[3]
    start = 4 + 4 * ndim
    if len(raw) < start:
        raise ValueError(f"{name}: expected {ndim} dimensions in the header, but the file ends within them")
    shape = tuple(int.from_bytes(raw[i : i + 4], "big") for i in range(4, start, 4))
    return dtype, shape, start, math.prod(shape) * dtype.itemsize


def _parse_idx(raw: bytearray, name: str) -> np.ndarray:
    dtype, shape, start, expected = _idx_header(raw, name)
    came = len(raw) - start
    if came != expected:
        came_text, fault = (f"{came:,}", "is truncated") if came < expected else ("more", "has trailing bytes")
        raise ValueError(f"{name}: expected {expected:,} bytes for shape {shape}, got {came_text}: the file {fault}")
    try:
        return np.frombuffer(raw, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="))
    except ValueError as problem:  # more dimensions, or longer ones, than numpy has
        raise ValueError(f"{name}: {problem}") from problem


def _raw_bytes(stream: IO[bytes], name: str, most: int) -> bytearray:
    """The first `most` bytes of the stream, or all that it has, gunzipped if they are gzip; no more is expanded."""
    import gzip
    import zlib

    stream.seek(0)
    is_gzip = stream.read(2) == b"\x1f\x8b"
    stream.seek(0)
    source: IO[bytes] = gzip.GzipFile(fileobj=stream) if is_gzip else stream  # type: ignore[assignment]
    raw = bytearray()
    try:  # piece by piece: read(most) would take that much memory, however short the file
        while len(raw) < most and (piece := source.read(min(most - len(raw), 1 << 20))):
            raw += piece
    except EOFError as problem:
        raise ValueError(f"{name}: truncated gzip: the file ends before its data does") from problem
    except (gzip.BadGzipFile, zlib.error) as problem:
        raise ValueError(f"{name}: corrupt gzip: {problem}") from problem
    return raw


def _raw_file(stream: IO[bytes], name: str, file: _File) -> bytearray:
    """All bytes of the stream, gunzipped if they are gzip, where they are no more than `file` has."""
    raw = _raw_bytes(stream, name, file.size + 1)
    if len(raw) > file.size:
        raise ValueError(f"{name}: expected {file.size:,} bytes after gunzip, but more came")
    return raw


def _verify(raw: bytearray, file: _File, name: str) -> None:
    import hashlib

    digest = hashlib.sha256(raw).hexdigest()
    if digest != file.sha256:
        raise ValueError(f"{name}: expected SHA-256 {file.sha256} after gunzip, got {digest}")


def _read(folder: Path, file: _File) -> tuple[bytearray, str]:
    """The raw bytes of one file of the folder, gzipped or not, and the path they came from."""
    for path in (folder / f"{file.name}.gz", folder / file.name):
        if path.is_file():
            with path.open("rb") as stream:
                return _raw_file(stream, str(path), file), str(path)
    raise FileNotFoundError(f"{folder}: expected {file.name}.gz or {file.name} in this folder, found neither")


def _load(folder: Path) -> FashionMNIST:
    """Read a folder's four files. The checksums come last: any other error says more of what is wrong."""
    raws, paths = zip(*(_read(folder, file) for file in FILES), strict=True)
    data = FashionMNIST(*map(_parse_idx, raws, paths))
    for i in (0, 2):
        images, labels = data[i].shape, data[i + 1].shape
        if images[:1] != labels[:1]:
            came = f"shape {images} in {paths[i]} and shape {labels} in {paths[i + 1]}"
            raise ValueError(f"expected as many labels as images, got {came}")
    for raw, path, file in zip(raws, paths, FILES, strict=True):
        _verify(raw, file, path)
    return data


# Fetching -------------------------------------------------------------------------------------------------


def _cache_folder() -> Path:
    """Where the platform keeps what can be fetched again."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "twograd" / "fashion-mnist"


def _fetch(cache: Path) -> None:
    """Bring each file that the cache lacks, or holds broken, from a mirror or out of the Debian package."""
    import subprocess
    from http.client import HTTPException
    from urllib.error import HTTPError

    _prepare(cache)
    print(f"Fashion-MNIST: fetching 30 MB into {cache}, once", file=sys.stderr)
    missing = [file for file in FILES if not _is_good(cache, file)]
    deadline = time.monotonic() + FETCH_SECONDS
    problems = []
    for mirror in MIRRORS:
        for file in tuple(missing):
            url = f"{mirror}{file.name}.gz"
            try:
                content = _download(url, file, deadline)
            except (HTTPError, HTTPException, ValueError) as problem:
                problems.append(_told(url, problem))
                if isinstance(problem, HTTPError):
                    problem.close()
            except OSError as problem:  # a mirror out of reach is not asked for the next file
                problems.append(_told(url, problem))
                break
            else:
                _keep(content, file, cache)
                missing.remove(file)
    if missing:
        try:
            contents = _download_from_debian(missing, deadline)
        except (OSError, subprocess.SubprocessError, ValueError) as problem:
            problems.append(f"apt-get download {DEBIAN_PACKAGE}: {problem}")
            names, mirrors = ", ".join(f"{file.name}.gz" for file in FILES), "\n     ".join(MIRRORS)
            raise FileNotFoundError(
                "Fashion-MNIST is not on this machine and could not be fetched. Any of these brings it:\n"
                f"  1. put {names} into a folder and name it by fashion_mnist(folder) or $FASHION_MNIST\n"
                f"  2. apt-get install {DEBIAN_PACKAGE}, on Debian and its kin\n"
                f"  3. let it be downloaded, with one of these in reach:\n     {mirrors}\n"
                "What was tried:\n  " + "\n  ".join(problems)
            ) from problem
        for file, content in zip(missing, contents, strict=True):
            _keep(content, file, cache)


def _told(url: str, problem: Exception) -> str:
    """In one line, and not a long one: what a mirror says may be anything."""
    return " ".join(f"{url}: {problem}".split())[:500]


def _prepare(cache: Path) -> None:
    """Make the cache folder, and remove what a process that was killed while it wrote has left there."""
    with _cache_errors():
        cache.mkdir(parents=True, exist_ok=True)
        if not os.access(cache, os.W_OK):
            raise PermissionError(f"no permission to write into {cache}")
        for part in cache.glob("*.part"):  # a younger one may be another process at work
            if part.stat().st_mtime < time.time() - FETCH_SECONDS:
                part.unlink(missing_ok=True)


@contextlib.contextmanager
def _cache_errors() -> Iterator[None]:
    """An error of the cache folder is none of a mirror: it is told at once, with what to do."""
    try:
        yield
    except OSError as problem:
        hint = "set $XDG_CACHE_HOME to a folder that can be written, or $FASHION_MNIST to one with the files"
        raise OSError(f"expected a cache folder for Fashion-MNIST, got: {problem}; {hint}") from problem


def _is_good(folder: Path, file: _File) -> bool:
    try:
        raw, path = _read(folder, file)
        _verify(raw, file, path)
    except (OSError, ValueError):
        return False
    return True


def _keep(content: bytes, file: _File, cache: Path) -> None:
    """Put verified content into the cache by an atomic rename: nobody ever sees half a file."""
    import tempfile

    with (
        _cache_errors(),
        tempfile.NamedTemporaryFile(dir=cache, prefix=file.name, suffix=".part", delete=False) as part,
    ):
        try:
            part.write(content)
            part.close()
            os.replace(part.name, cache / f"{file.name}.gz")
        finally:
            Path(part.name).unlink(missing_ok=True)


def _verified(content: bytes, file: _File) -> bytes:
    import io

    _verify(_raw_file(io.BytesIO(content), file.name, file), file, file.name)
    return content


def _download(url: str, file: _File, deadline: float) -> bytes:
    """The verified file at `url`, gzipped or not, fetched under a progress bar (none where nobody watches)."""
    from tqdm import tqdm

    content, limit = bytearray(), file.size + 1024  # a gzip header is short
    with _open(url, min(CONNECT_SECONDS, deadline - time.monotonic())) as response:
        if (response.length or 0) > limit:
            raise ValueError(f"expected at most {limit:,} bytes, but more are announced")
        with tqdm(desc=f"{file.name}.gz", total=response.length, unit="B", unit_scale=True, disable=None) as bar:
            while piece := response.read1(1 << 16):
                content += piece
                bar.update(len(piece))
                if len(content) > limit:
                    raise ValueError(f"expected at most {limit:,} bytes, but more came")
                if time.monotonic() > deadline:
                    raise TimeoutError(f"not finished within {FETCH_SECONDS:g} s")
    return _verified(bytes(content), file)


def _open(url: str, seconds: float) -> HTTPResponse:
    """Open `url`, or raise TimeoutError after `seconds`. Redirects lead to the web only.

    In a thread, since a socket's own timeout bounds neither the look-up of a name nor many addresses in turn.
    """
    if seconds <= 0:
        raise TimeoutError(f"not begun within {FETCH_SECONDS:g} s")

    import queue
    import threading
    from urllib.request import HTTPRedirectHandler, build_opener

    class Redirects(HTTPRedirectHandler):
        def http_error_302(self, req: Any, fp: Any, code: Any, msg: Any, headers: Any) -> Any:
            fp.close()  # urllib would read the body, which may have no end
            return super().http_error_302(req, fp, code, msg, headers)

        http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302

        def redirect_request(self, req: Any, fp: Any, code: Any, msg: Any, headers: Any, newurl: str) -> Any:
            if not newurl.startswith(("http://", "https://")):
                raise ValueError(f"expected an http or https address, got a redirect to {newurl}")
            return super().redirect_request(req, fp, code, msg, headers, newurl)

    answers: queue.SimpleQueue[HTTPResponse | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(build_opener(Redirects).open(url, timeout=seconds))
        except Exception as problem:
            answers.put(problem)

    threading.Thread(target=ask, daemon=True).start()
    try:
        answer = answers.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"no answer within {seconds:.1f} s") from None
    if isinstance(answer, Exception):
        raise answer
    return answer


_APT_CONF = """\
Dir::State "{home}/state";
Dir::State::lists "{home}/lists";
Dir::State::status "{home}/status";
Dir::Cache "{home}/cache";
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Retries "0";
Acquire::http::Timeout "{seconds:.0f}";
Acquire::https::Timeout "{seconds:.0f}";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
"""  # all state private, no hook of the machine run: nothing outside {home} changes, and root is not needed


def _download_from_debian(missing: list[_File], deadline: float) -> list[bytes]:
    """The missing files, verified, out of the Debian package, downloaded and unpacked but not installed."""
    import shutil
    import subprocess
    import tempfile

    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise FileNotFoundError(f"{tool} is not on PATH")

    def run(*command: str, check: bool = True) -> None:
        seconds = max(deadline - time.monotonic(), 0.001)
        null = subprocess.DEVNULL
        done = subprocess.run(
            command, cwd=home, stdin=null, stdout=null, stderr=subprocess.PIPE, text=True, timeout=seconds
        )
        if check and done.returncode:
            raise OSError(f"{command[0]} failed with exit code {done.returncode}: {done.stderr.strip()}")

    print(f"Fashion-MNIST: no mirror has it; taking the Debian package {DEBIAN_PACKAGE}", file=sys.stderr)
    with tempfile.TemporaryDirectory() as home:
        for folder in ("state", "lists/partial", "cache/archives/partial"):
            Path(home, folder).mkdir(parents=True)
        Path(home, "status").touch()
        Path(home, "apt.conf").write_text(_APT_CONF.format(home=home, seconds=CONNECT_SECONDS))
        run("apt-get", "-c", "apt.conf", "update", check=False)  # may fail for a source that does not matter
        run("apt-get", "-c", "apt.conf", "download", DEBIAN_PACKAGE)
        package = next(Path(home).glob("*.deb"), None)
        if package is None:
            raise FileNotFoundError("it brought no .deb file")
        run("dpkg-deb", "-x", package.name, "unpacked")
        unpacked = Path(home, "unpacked", DEBIAN_FOLDER)
        return [_verified((unpacked / f"{file.name}.gz").read_bytes(), file) for file in missing]
