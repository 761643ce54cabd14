"""Files of data sets: found on the machine, or fetched; verified by SHA-256 before they are used.

A data set is a module of its own, which describes its files by a `Source`, says how to load a folder of them, and
leaves the rest to `find`. What only fetching needs is imported where it is used, so that `import vector` stays light.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from .. import files
from .idx import parse_idx, read_bytes

if TYPE_CHECKING:
    from http.client import HTTPResponse

T = TypeVar("T")

ROOT = Path("/")  # below it, Debian's packages put their files
CONNECT_SECONDS = 5.0  # for a mirror to begin its answer
FETCH_SECONDS = 600.0  # for everything


class File(NamedTuple):
    """A file of a data set, stored as it is or gzipped. Size and checksum are those after gunzip, since gzip headers
    differ.
    """

    name: str
    size: int  # bytes
    sha256: str


class Source(NamedTuple):
    """What a data set consists of and where its files can be had."""

    title: str
    name: str  # of the function that loads it; the environment variable and the cache folder are named after it
    files: tuple[File, ...]
    megabytes: int  # to fetch, all files together
    mirrors: tuple[str, ...]  # addresses that a file's name is appended to; their answers are judged by checksum
    debian_package: str  # empty where there is none
    debian_folder: str  # below the root, where the package puts the files
    lookalikes: Mapping[str, str]  # SHA-256 of files of other data sets under the same names, and whose they are

    @property
    def variable(self) -> str:
        """The environment variable that names a folder with the files."""
        return self.name.upper()

    @property
    def cache(self) -> Path:
        """The folder that fetched files are kept in."""
        return cache_folder() / self.name.replace("_", "-")


def find(source: Source, load: Callable[[Path], T], folder: str | os.PathLike[str] | None) -> T:
    """Load the data set from `folder` or `$VARIABLE`, where one of them is given, and from nowhere else. Otherwise load
    it from the cache or from where Debian's package puts it; at last fetch the missing files into the cache.

    `load(folder)` raises FileNotFoundError where a file is missing and ValueError where one is broken. Raises the same,
    and OSError when the cache cannot be written.
    """
    own = folder if folder is not None else os.environ.get(source.variable)
    if own:
        try:
            return load(Path(own).expanduser())
        except ValueError as problem:
            hint = "Nothing was removed. Put a good copy there, or name no folder to have one fetched."
            raise ValueError(f"{problem}\n{hint}") from problem
    debian = [ROOT / source.debian_folder] if source.debian_package else []
    for place in (source.cache, *debian):
        try:
            return load(place)
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as problem:
            note = "not used: the data set is looked for elsewhere, then fetched anew"
            warnings.warn(f"{problem} ({note})", stacklevel=3)
    fetch(source)
    return load(source.cache)


def cache_folder() -> Path:
    """Return where the platform keeps this project's files that can be fetched again."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "twograd"


# --- one file ---------------------------------------------------------------------------------------------------------


class Raw(NamedTuple):
    """The bytes of a file, gunzipped, the path that they came from, and whether they have the right checksum."""

    content: bytearray
    path: str
    good: bool


def read_file(folder: Path, file: File) -> Raw:
    """Read one file of the folder, gzipped or not. Where it is there in several forms, a broken one does no harm.

    Returns the first good one, else the first that can be read; else raises what was wrong with the first, or
    FileNotFoundError.
    """
    paths = [folder / name for name in forms(file.name)]
    bad: list[Raw] = []
    problems: list[Exception] = []
    for path in filter(Path.is_file, paths):
        try:
            with path.open("rb") as stream:
                content = read_raw(stream, str(path), file)
        except (OSError, ValueError) as problem:
            problems.append(problem)
        else:
            raw = Raw(content, str(path), sha256(content) == file.sha256)
            if raw.good:
                return raw
            bad.append(raw)
    if bad:
        return bad[0]
    if problems:
        raise problems[0]
    wanted = ", ".join(path.name for path in paths[:-1]) + f" or {paths[-1].name}"
    raise FileNotFoundError(f"{folder}: expected {wanted} in this folder, found none of them")


def load_arrays(source: Source, folder: Path) -> tuple[np.ndarray, ...]:
    """The arrays in a folder's files, images and labels in turn. The checksums come last: any other error says more of
    what is wrong."""
    raws = [read_file(folder, file) for file in source.files]
    arrays = tuple(parse_idx(raw.content, raw.path) for raw in raws)
    check_pairs(arrays, [raw.path for raw in raws])
    for raw, file in zip(raws, source.files, strict=True):
        if not raw.good:
            raise mismatch(raw, file, source)
    return arrays


def check_pairs(arrays: Sequence[np.ndarray], paths: Sequence[Any]) -> None:
    """Raises ValueError where images, at each second place, and the labels after them are not as many."""
    for i in range(0, len(arrays), 2):
        images, labels = arrays[i].shape, arrays[i + 1].shape
        if images[:1] != labels[:1]:
            came = f"shape {images} in {paths[i]} and shape {labels} in {paths[i + 1]}"
            raise ValueError(f"expected as many labels as images, got {came}")


def forms(name: str) -> list[str]:
    """What a file may be called: with a dot before "idx", as in another archive of MNIST, gzipped or not."""
    return [f"{form}{end}" for form in (name, name.replace("-idx", ".idx")) for end in (".gz", "")]


def read_raw(stream: IO[bytes], name: str, file: File) -> bytearray:
    """Read the stream, gunzipped if it is gzip. Raises ValueError if it has more bytes than `file`."""
    raw = read_bytes(stream, name, file.size + 1)
    if len(raw) > file.size:
        raise ValueError(f"{name}: expected {file.size:,} bytes after gunzip, but more came")
    return raw


def sha256(content: bytes | bytearray) -> str:
    import hashlib

    return hashlib.sha256(content).hexdigest()


def mismatch(raw: Raw, file: File, source: Source) -> ValueError:
    """Return the error for a file that can be read and is another one. It names the data set that the file is of."""
    came = sha256(raw.content)
    other = source.lookalikes.get(came) or source.lookalikes.get(sha256(Path(raw.path).read_bytes()))
    if other:
        text = f"expected a file of {source.title}, got that of {other}, which has the same name; "
        return ValueError(f"{raw.path}: {text}vector.datasets.read_idx(path) reads it")
    others = " and ".join(sorted({*source.lookalikes.values()}))
    return ValueError(
        f"{raw.path}: expected SHA-256 {file.sha256} after gunzip, got {came}: it is damaged, or of another data set "
        f"(files of {others} have the same names), which vector.datasets.read_idx(path) reads"
    )


def verified(content: bytes, file: File) -> bytes:
    """Return the content, gzipped or not, once it is verified. Raises ValueError."""
    import io

    came = sha256(read_raw(io.BytesIO(content), file.name, file))
    if came != file.sha256:
        raise ValueError(f"{file.name}: expected SHA-256 {file.sha256} after gunzip, got {came}")
    return content


def is_good(folder: Path, file: File) -> bool:
    try:
        return read_file(folder, file).good
    except (OSError, ValueError):
        return False


# --- the cache --------------------------------------------------------------------------------------------------------


def fetch(source: Source) -> None:
    """Bring each file that the cache lacks, or holds broken, from a mirror or out of the Debian package."""
    import subprocess

    prepare(source)
    print(f"{source.title}: fetching {source.megabytes} MB into {source.cache}, once", file=sys.stderr)
    missing = [file for file in source.files if not is_good(source.cache, file)]
    deadline = time.monotonic() + FETCH_SECONDS
    problems = fetch_from_mirrors(source, missing, deadline)
    if missing:
        if not source.debian_package:
            raise not_found(source, problems)
        try:
            contents = download_from_debian(source, missing, deadline)
        except (OSError, subprocess.SubprocessError, ValueError) as problem:
            problems.append(f"apt-get download {source.debian_package}: {problem}")
            raise not_found(source, problems) from problem
        for file, content in zip(missing, contents, strict=True):
            keep(content, file, source)


def not_found(source: Source, problems: list[str]) -> FileNotFoundError:
    """The error for files that nobody has, with all ways to bring them, and what was tried."""
    names, mirrors = ", ".join(f"{file.name}.gz" for file in source.files), "\n     ".join(source.mirrors)
    ways = [f"put {names} into a folder and name it by {source.name}(folder) or ${source.variable}"]
    ways += [f"apt-get install {source.debian_package}, on Debian and its kin"] if source.debian_package else []
    ways += [f"let it be downloaded, with one of these in reach:\n     {mirrors}"]
    return FileNotFoundError(
        f"{source.title} is not on this machine and could not be fetched. Any of these brings it:\n"
        + "".join(f"  {i}. {way}\n" for i, way in enumerate(ways, start=1))
        + "What was tried:\n  "
        + "\n  ".join(problems)
    )


def fetch_from_mirrors(source: Source, missing: list[File], deadline: float) -> list[str]:
    """Put into the cache, and take off the list, what the mirrors have. Return the problems met, a line each."""
    from http.client import HTTPException
    from urllib.error import HTTPError

    problems = []
    for mirror in source.mirrors:
        for file in tuple(missing):
            url = f"{mirror}{file.name}.gz"
            try:
                content = download(url, file, deadline)
            except (HTTPError, HTTPException, ValueError) as problem:
                problems.append(in_a_line(url, problem))
                if isinstance(problem, HTTPError):
                    problem.close()
            except OSError as problem:  # a mirror out of reach is not asked for the next file
                problems.append(in_a_line(url, problem))
                break
            else:
                keep(content, file, source)
                missing.remove(file)
    return problems


def in_a_line(url: str, problem: Exception) -> str:
    """Report the problem in one line, and not a long one: a mirror may answer with anything."""
    return " ".join(f"{url}: {problem}".split())[:500]


def prepare(source: Source) -> None:
    """Make the cache folder. Remove what a process left there that was killed while it wrote."""
    cache = source.cache
    with cache_errors(source):
        cache.mkdir(parents=True, exist_ok=True)
        if not os.access(cache, os.W_OK):
            raise PermissionError(f"no permission to write into {cache}")
        for part in cache.glob("*.tmp"):
            with contextlib.suppress(FileNotFoundError):  # another process has just finished with it
                status = part.lstat()
                young = status.st_mtime > time.time() - FETCH_SECONDS  # another process may be at work on it
                if not (young or stat.S_ISDIR(status.st_mode)):
                    part.unlink()


@contextlib.contextmanager
def cache_errors(source: Source) -> Iterator[None]:
    """Report an error of the cache folder at once and with the way out: no mirror can help."""
    try:
        yield
    except OSError as problem:
        hint = f"set $XDG_CACHE_HOME to a folder that can be written, or ${source.variable} to one with the files"
        raise OSError(f"expected a cache folder for {source.title}, got: {problem}; {hint}") from problem


def keep(content: bytes, file: File, source: Source) -> None:
    """Put verified content into the cache, where everybody may read it who may read the user's files."""
    with cache_errors(source):
        files.write(source.cache / f"{file.name}.gz", content, fresh=True)


# --- mirrors ----------------------------------------------------------------------------------------------------------


def download(url: str, file: File, deadline: float) -> bytes:
    """Return the verified file at `url`, gzipped or not. A terminal shows a progress bar meanwhile."""
    from tqdm import tqdm

    content, limit = bytearray(), file.size + 1024  # a gzip header is short
    with open_url(url, min(CONNECT_SECONDS, deadline - time.monotonic())) as response:
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
    return verified(bytes(content), file)


def open_url(url: str, seconds: float) -> HTTPResponse:
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


# --- Debian's package ------------------------------------------------------------------------------------------------

APT_CONF = """\
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


def download_from_debian(source: Source, missing: list[File], deadline: float) -> list[bytes]:
    """Download the Debian package, unpack it without installing it, and return the missing files, verified."""
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

    print(f"{source.title}: no mirror has it; taking the Debian package {source.debian_package}", file=sys.stderr)
    with tempfile.TemporaryDirectory() as home:
        for folder in ("state", "lists/partial", "cache/archives/partial"):
            Path(home, folder).mkdir(parents=True)
        Path(home, "status").touch()
        Path(home, "apt.conf").write_text(APT_CONF.format(home=home, seconds=CONNECT_SECONDS))
        run("apt-get", "-c", "apt.conf", "update", check=False)  # may fail for a source that does not matter
        run("apt-get", "-c", "apt.conf", "download", source.debian_package)
        package = next(Path(home).glob("*.deb"), None)
        if package is None:
            raise FileNotFoundError("it brought no .deb file")
        run("dpkg-deb", "-x", package.name, "unpacked")
        unpacked = Path(home, "unpacked", source.debian_folder)
        return [verified((unpacked / f"{file.name}.gz").read_bytes(), file) for file in missing]
