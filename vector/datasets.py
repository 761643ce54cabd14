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

import math
import os
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from http.client import HTTPResponse

    from numpy.typing import DTypeLike

__all__ = ["CLASS_NAMES", "Batches", "FashionMNIST", "fashion_mnist", "fashion_mnist_sample", "read_idx"]

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

    Raises FileNotFoundError if files are missing and cannot be fetched, ValueError if one is broken.
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
    any other.
    """
    with open(path, "rb") as stream:
        return _parse_idx(_raw_bytes(stream, os.fspath(path)), os.fspath(path))


_IDX_DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def _parse_idx(raw: bytes, name: str) -> np.ndarray:
    if len(raw) < 4 or raw[:2] != b"\0\0" or raw[2] not in _IDX_DTYPES:
        magic = "the magic number of an IDX file (00 00, a dtype code, the number of dimensions)"
        raise ValueError(f"{name}: expected {magic}, got {raw[:4].hex(' ') or 'nothing'}")
    dtype, ndim = np.dtype(_IDX_DTYPES[raw[2]]), raw[3]
    start = 4 + 4 * ndim
    if len(raw) < start:
        raise ValueError(f"{name}: expected {ndim} dimensions in the header, but the file ends within them")
    shape = tuple(int.from_bytes(raw[i : i + 4], "big") for i in range(4, start, 4))
    expected, came = math.prod(shape) * dtype.itemsize, len(raw) - start
    if came != expected:
        fault = "the file is truncated" if came < expected else "the file has trailing bytes"
        raise ValueError(f"{name}: expected {expected:,} bytes for shape {shape}, got {came:,}: {fault}")
    try:
        return np.frombuffer(raw[start:], dtype).reshape(shape).astype(dtype.newbyteorder("="))
    except ValueError as problem:  # more dimensions, or longer ones, than numpy has
        raise ValueError(f"{name}: {problem}") from problem


def _raw_bytes(stream: IO[bytes], name: str, limit: int | None = None) -> bytes:
    """All bytes of the stream, gunzipped if they are gzip; never expands past `limit` bytes."""
    import gzip
    import zlib

    is_gzip = stream.read(2) == b"\x1f\x8b"
    stream.seek(0)
    source: IO[bytes] = gzip.GzipFile(fileobj=stream) if is_gzip else stream  # type: ignore[assignment]
    try:
        raw = source.read(-1 if limit is None else limit + 1)
    except EOFError as problem:
        raise ValueError(f"{name}: truncated gzip: the file ends before its data does") from problem
    except (gzip.BadGzipFile, zlib.error) as problem:
        raise ValueError(f"{name}: corrupt gzip: {problem}") from problem
    if limit is not None and len(raw) > limit:
        raise ValueError(f"{name}: expected {limit:,} bytes after gunzip, but more came")
    return raw


def _verify(raw: bytes, file: _File, name: str) -> None:
    import hashlib

    digest = hashlib.sha256(raw).hexdigest()
    if digest != file.sha256:
        raise ValueError(f"{name}: expected SHA-256 {file.sha256} after gunzip, got {digest}")


def _read(folder: Path, file: _File) -> tuple[bytes, str]:
    """The raw bytes of one file of the folder, gzipped or not, and the path they came from."""
    for path in (folder / f"{file.name}.gz", folder / file.name):
        if path.is_file():
            with path.open("rb") as stream:
                return _raw_bytes(stream, str(path), file.size), str(path)
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

    try:
        cache.mkdir(parents=True, exist_ok=True)
        if not os.access(cache, os.W_OK):
            raise PermissionError(f"no permission to write into {cache}")
    except OSError as problem:
        hint = "set $XDG_CACHE_HOME to a folder that can be written, or $FASHION_MNIST to one with the files"
        raise OSError(f"expected a cache folder for Fashion-MNIST, got: {problem}; {hint}") from problem

    print(f"Fashion-MNIST: fetching 30 MB into {cache}, once", file=sys.stderr)
    missing = [file for file in FILES if not _is_good(cache, file)]
    deadline = time.monotonic() + FETCH_SECONDS
    problems = []
    for mirror in MIRRORS:
        for file in tuple(missing):
            url = f"{mirror}{file.name}.gz"
            try:
                _keep(_download(url, file.size + 1024, deadline), file, cache)  # a gzip header is short
                missing.remove(file)
            except (HTTPError, HTTPException, ValueError) as problem:
                problems.append(f"{url}: {problem}")
                if isinstance(problem, HTTPError):
                    problem.close()
            except OSError as problem:  # a mirror out of reach is not asked for the next file
                problems.append(f"{url}: {problem}")
                break
    if missing:
        try:
            _fetch_from_debian(missing, cache, deadline)
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


def _is_good(folder: Path, file: _File) -> bool:
    try:
        raw, path = _read(folder, file)
        _verify(raw, file, path)
    except (OSError, ValueError):
        return False
    return True


def _keep(content: bytes, file: _File, cache: Path) -> None:
    """Verify content and put it into the cache by an atomic rename: nobody ever sees half a file."""
    import io
    import tempfile

    _verify(_raw_bytes(io.BytesIO(content), file.name, file.size), file, file.name)
    with tempfile.NamedTemporaryFile(dir=cache, prefix=file.name, suffix=".part", delete=False) as part:
        try:
            part.write(content)
            part.close()
            os.replace(part.name, cache / f"{file.name}.gz")
        finally:
            Path(part.name).unlink(missing_ok=True)


def _download(url: str, limit: int, deadline: float) -> bytes:
    """The bytes at `url`, at most `limit` of them, under a progress bar (none where nobody watches)."""
    from tqdm import tqdm

    content = bytearray()
    with _open(url, min(CONNECT_SECONDS, deadline - time.monotonic())) as response:
        total, name = response.headers.get("Content-Length", ""), url.rpartition("/")[2]
        size = int(total) if total.isdigit() else None
        with tqdm(desc=name, total=size, unit="B", unit_scale=True, disable=None) as bar:
            while chunk := response.read1(1 << 16):
                content += chunk
                bar.update(len(chunk))
                if len(content) > limit:
                    raise ValueError(f"expected at most {limit:,} bytes, but more came")
                if time.monotonic() > deadline:
                    raise TimeoutError(f"not finished within {FETCH_SECONDS:g} s")
    return bytes(content)


def _open(url: str, seconds: float) -> HTTPResponse:
    """Open `url`, or raise TimeoutError after `seconds`.

    In a thread, since a socket's own timeout bounds neither the look-up of a name nor many addresses in turn.
    """
    if seconds <= 0:
        raise TimeoutError(f"not begun within {FETCH_SECONDS:g} s")

    import queue
    import threading
    from urllib.request import urlopen

    answers: queue.SimpleQueue[HTTPResponse | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(urlopen(url, timeout=seconds))
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


def _fetch_from_debian(missing: list[_File], cache: Path, deadline: float) -> None:
    """Take the missing files out of the Debian package, downloaded and unpacked but not installed."""
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
        (package,) = Path(home).glob("*.deb")
        run("dpkg-deb", "-x", package.name, "unpacked")
        for file in missing:
            _keep(Path(home, "unpacked", DEBIAN_FOLDER, f"{file.name}.gz").read_bytes(), file, cache)


# Batches --------------------------------------------------------------------------------------------------


class Batches:
    """Shuffled batches of a data set that is itself never copied; each `iter()` begins the next epoch.

    A batch is `(images, labels)`, both fresh arrays: images times `scale` in the given dtype, and classes as
    int64. `scale=None` keeps the images' values, for images that are scaled already. The last batch of an
    epoch may be shorter, unless `drop_last`. `len()` is the number of batches in an epoch.

    `epoch`, which can be set, is the number of the next epoch to begin. An epoch's order follows from
    `(seed, epoch)` alone, so that a run that stopped at (epoch, batch) can go on as if it had not:

    >>> data = fashion_mnist_sample()
    >>> batches = Batches(data.train_images, data.train_labels, batch_size=100, seed=1)
    >>> epochs = [[labels.tolist() for _, labels in batches] for epoch in range(3)]
    >>> batches.epoch = 2
    >>> from itertools import islice
    >>> [labels.tolist() for _, labels in islice(batches, 5, None)] == epochs[2][5:]
    True
    """

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        batch_size: int,
        seed: int = 0,
        shuffle: bool = True,
        dtype: DTypeLike = np.float32,
        scale: float | None = 1 / 255,
        drop_last: bool = False,
    ) -> None:
        self.images = np.ascontiguousarray(images)  # copies only what np.take would copy for every batch
        self.labels = np.asarray(labels)
        self.batch_size, self.seed, self.shuffle = batch_size, seed, shuffle
        self.dtype, self.scale, self.drop_last = np.dtype(dtype), scale, drop_last
        self.epoch = 0
        if self.images.shape[:1] != self.labels.shape[:1]:
            came = f"images of shape {self.images.shape} and labels of shape {self.labels.shape}"
            raise ValueError(f"Batches: expected as many labels as images, got {came}")
        if self.images.size == 0:
            raise ValueError(f"Batches: expected at least one image, got shape {self.images.shape}")
        if self.labels.dtype.kind not in "iu":
            raise TypeError(f"Batches: expected labels as whole numbers, got {self.labels.dtype}")
        if batch_size < 1:
            raise ValueError(f"Batches: expected batch_size of 1 or more, got {batch_size}")
        if len(self) == 0:
            came = f"{len(self.images)} images, batch_size {batch_size} and drop_last"
            raise ValueError(f"Batches: expected at least one whole batch, got {came}")

    def __len__(self) -> int:
        whole, rest = divmod(len(self.images), self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        n = len(self.images)
        order = np.arange(n)
        if self.shuffle:
            order = np.random.default_rng([self.seed, self.epoch]).permutation(n)
        self.epoch += 1
        return self._gather(order)

    def _gather(self, order: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        buffer = np.empty((min(self.batch_size, len(order)), *self.images.shape[1:]), self.images.dtype)
        for i in range(len(self)):
            rows = order[i * self.batch_size : (i + 1) * self.batch_size]
            images = np.take(self.images, rows, axis=0, out=buffer[: len(rows)], mode="clip")
            if self.scale is None:
                batch = images.astype(self.dtype)
            else:
                batch = np.multiply(images, self.scale, dtype=self.dtype)
            yield batch, self.labels[rows].astype(np.int64)
