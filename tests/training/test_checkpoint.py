"""Checkpoints: a file that is whole or refused, and a run that ends with the same bits wherever it was stopped."""

import builtins
import errno
import hashlib
import io
import math
import os
import re
import struct
import subprocess
import sys
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from kill_and_resume import kill_and_resume, report
from mistakes import alike
from recorded import OPTIMIZERS, same

import scalar
import vector
from vector import nn, optim
from vector.checkpoint import CheckpointError, load, save
from vector.training import checkpoint

STATE = {
    "model": {"0.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "0.bias": np.zeros(3)},
    "run": {"step": 7, "history": [{"epoch": 1, "loss": 0.1}], "none": None, "empty": {}},
    "large": 2**127,
}


def equal(x, y):
    """The same structure, dtypes, shapes and bits."""
    if isinstance(x, dict):
        return isinstance(y, dict) and x.keys() == y.keys() and all(equal(x[key], y[key]) for key in x)
    if isinstance(x, np.ndarray):
        return isinstance(y, np.ndarray) and x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()
    return type(x) is type(y) and repr(x) == repr(y)


def seal(content, version=1):
    """The same bytes with a comment that vouches for them, as somebody would who means harm."""
    file = io.BytesIO(content)
    with zipfile.ZipFile(file, "a") as archive:
        archive.comment = f"twograd {version} sha256 {64 * '0'}".encode()
    return digest(file.getvalue())


def digest(content):
    return content[:-64] + hashlib.sha256(content[:-64]).hexdigest().encode()


# --- the file ---------------------------------------------------------------------------------------------------------

keys = st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters="/\\"), min_size=1, max_size=5)
numbers = st.one_of(hnp.integer_dtypes(), hnp.unsigned_integer_dtypes(), hnp.floating_dtypes(), hnp.boolean_dtypes())
arrays = hnp.arrays(numbers, hnp.array_shapes(min_dims=0, min_side=0, max_side=4))
leaves = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text())
plains = st.recursive(leaves, lambda parts: st.lists(parts, max_size=3))
states = st.recursive(
    st.dictionaries(keys, plains | arrays, max_size=3),
    lambda parts: st.dictionaries(keys, plains | arrays | parts, max_size=3),
    max_leaves=5,
)


@given(states)
def test_what_is_saved_is_loaded(state):
    content = checkpoint.pack(state)
    assert equal(checkpoint.parse(content), state)
    assert checkpoint.pack(state) == content
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert all(member.date_time[0] == 1980 for member in archive.infolist())  # the same bytes tomorrow, too


def test_a_file_and_back(tmp_path):
    path = tmp_path / "a.npz"
    save(path, STATE)
    assert equal(load(path), STATE)
    assert os.listdir(tmp_path) == ["a.npz"]
    with np.load(path, allow_pickle=False) as file:
        assert same(file["model/0.weight"], STATE["model"]["0.weight"])
    found = load(path)["model"]["0.weight"]
    found += 1  # the caller's own


def test_arrays_in_any_order_of_memory(tmp_path):
    x = np.arange(24.0).reshape(2, 3, 4)
    state = {"fortran": np.asfortranarray(x), "strided": x[:, ::2], "big": x.astype(">f4")}
    save(tmp_path / "a.npz", state)
    assert all(np.array_equal(load(tmp_path / "a.npz")[name], array) for name, array in state.items())


BAD_STATES = {
    "a slash": ({"a/b": 1}, ValueError, "keys of printable text without a slash, got 'a/b'"),
    "no key": ({"x": {"": 1}}, ValueError, "got '' in x/"),
    "a number for a key": ({3: 1}, ValueError, "got 3 in it"),
    "a control character": ({"a\0": 1}, ValueError, "got 'a\\\\x00'"),
    "objects": ({"x": {"y": np.array([None])}}, TypeError, "save: x/y: expected an array of numbers, got object"),
    "text": ({"x": np.array(["a"])}, TypeError, "save: x: expected an array of numbers, got <U1"),
    "a set": ({"x": {1}}, TypeError, "save: expected arrays and plain values, got .* set"),
    "an array in a list": ({"x": [np.zeros(3)]}, TypeError, "save: expected arrays and plain values, got .* ndarray"),
}


@pytest.mark.parametrize("name", BAD_STATES)
def test_what_cannot_be_saved_is_named_and_leaves_the_old_file(name, tmp_path):
    state, kind, words = BAD_STATES[name]
    save(tmp_path / "a.npz", STATE)
    with pytest.raises(kind, match=words):
        save(tmp_path / "a.npz", state)
    assert equal(load(tmp_path / "a.npz"), STATE)
    assert os.listdir(tmp_path) == ["a.npz"]


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "link.npz").symlink_to(tmp_path / "far/a.npz")
    save(tmp_path / "link.npz", STATE)
    assert (tmp_path / "link.npz").is_symlink()
    assert equal(load(tmp_path / "far/a.npz"), STATE)


# --- damage -----------------------------------------------------------------------------------------------------------


def refused(path, content=None, words="expected a checkpoint saved as .npz, got .*: .*(give|use|read)"):
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match=words) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: ")


def regions(content):
    """The kinds of bytes that a file has, as slices: each member's local header, name and extra fields, .npy header,
    data; the central directory; the record at its end; and the seal's text and digest."""
    found = {}
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members, start = archive.infolist(), archive.start_dir
    for member in members:
        at = member.header_offset
        name, extra = (int.from_bytes(content[at + i : at + i + 2], "little") for i in (26, 28))
        data = at + 30 + name + extra
        header = 128 if member.filename.endswith(".npy") else 0
        found |= {
            f"{member.filename} local header": slice(at, at + 30),
            f"{member.filename} name and extra": slice(at + 30, data),
            f"{member.filename} array header": slice(data, data + header),
            f"{member.filename} data": slice(data + header, data + member.file_size),
        }
    end = len(content) - len("twograd 1 sha256 ") - 64
    ends = {"directory": slice(start, end - 22), "end record": slice(end - 22, end), "seal": slice(end, end + 17)}
    return found | ends | {"digest": slice(end + 17, len(content))}


def test_the_regions_are_all_of_the_file():
    content = checkpoint.pack(STATE)
    covered = sorted(i for region in regions(content).values() for i in range(*region.indices(len(content))))
    assert covered == list(range(len(content)))


def test_every_flipped_bit_is_found(tmp_path):
    """All 8 bits of every byte."""
    content = checkpoint.pack({"a": np.arange(3.0), "b": {"c": np.ones((2, 2), np.float32)}, "n": 1})
    assert len(content) * 8 > 5_000
    path = tmp_path / "a.npz"
    path.write_bytes(content)
    with path.open("r+b", buffering=0) as file:
        for i, byte in enumerate(content):
            for damaged in (byte ^ 1 << bit for bit in range(8)):
                file.seek(i)
                file.write(bytes([damaged]))
                refused(path)
            file.seek(i)
            file.write(bytes([byte]))
    assert load(path)


def test_every_cut_is_found(tmp_path):
    content = checkpoint.pack(STATE)
    path = tmp_path / "a.npz"
    for n in range(1, len(content) + 1):
        refused(path, content[n:])
    path.write_bytes(content)
    for n in reversed(range(len(content))):
        os.truncate(path, n)
        refused(path, words="cut short or something else")
    assert 2 * len(content) > 1_600


@given(st.data())
def test_damage_of_many_bytes_is_found(tmp_path_factory, data):
    """Blocks overwritten, left out, doubled, exchanged; something before or behind."""
    content = checkpoint.pack(STATE)
    region = data.draw(st.sampled_from(sorted(regions(content))))
    where = regions(content)[region]
    i = data.draw(st.integers(where.start, max(where.start, where.stop - 1)))
    j = data.draw(st.integers(i, len(content)))
    block = data.draw(st.binary(max_size=64) | st.just(bytes(j - i)) | st.just(content[i:j] * 2) | st.just(content))
    damaged = content[:i] + block + content[j:]
    if damaged != content:
        refused(tmp_path_factory.getbasetemp() / "damaged.npz", damaged)


FOREIGN = {
    "nothing": (b"", "cut short or something else"),
    "text": (b"hello" * 100, "cut short or something else"),
    "the seal alone": (digest(b"twograd 1 sha256 " + bytes(64)), "BadZipFile"),
    "another version": (seal(checkpoint.pack(STATE), 2), "got format version 2, where this is 1: read it with"),
    "a far version": (seal(checkpoint.pack(STATE), 10**8), "got format version 100000000"),
    "a newline behind": (checkpoint.pack(STATE) + b"\n", "cut short or something else"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_foreign_file_is_refused(name, tmp_path):
    content, words = FOREIGN[name]
    refused(tmp_path / "a.npz", content, words)


def test_an_npz_of_numpy_is_refused_as_checkpoint(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.zeros(3))
    refused(tmp_path / "a.npz", (tmp_path / "a.npz").read_bytes(), "without a seal at its end")


def test_no_file_a_folder_a_pipe(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.npz"):
        load(tmp_path / "nothing.npz")
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(CheckpointError, match=f"{path}: expected a checkpoint.*, got a folder, device or pipe"):
            load(path)


# --- harm: files whose seal is right ----------------------------------------------------------------------------------


def npy(header, data=b"", version=b"\x01\x00"):
    text = (header if isinstance(header, bytes) else str(header).encode()).ljust(117) + b"\n"
    return b"\x93NUMPY" + version + len(text).to_bytes(2, "little") + text + data


def archive(members, compression=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as target:
        for name, content in members:
            target.writestr(zipfile.ZipInfo(name), content, compress_type=compression)
    return seal(file.getvalue())


def header(shape, descr="<f8"):
    return {"descr": descr, "fortran_order": False, "shape": shape}


def listed_again():
    """One member's bytes, listed in the directory ten thousand times."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as target:
        target.writestr("a.npy", npy(header((1000,)), bytes(8000)))
        first = target.filelist[0]
        for i in range(10_000):
            info = zipfile.ZipInfo(f"{i}.npy")
            info.header_offset, info.CRC = first.header_offset, first.CRC
            info.file_size = info.compress_size = first.file_size
            target.filelist.append(info)
    return seal(file.getvalue())


def nested():
    """Two hundred members, each of which has all those after it for its data."""
    content, members = b"", []
    for i in reversed(range(200)):
        content = npy(header((len(content),), "|u1"), content)
        crc, size, name = zlib.crc32(content), len(content), f"{i:03}.npy".encode()
        content = struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 0, 0, 33, crc, size, size, len(name), 0) + name + content
        members.append((crc, size, name, len(content)))
    directory = b"".join(
        struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 0, 0, 33, crc, size, size, 7, *[0] * 5, len(content) - rest)
        + name
        for crc, size, name, rest in members
    )
    assert sum(size for _, size, _, _ in members) > 50 * len(content)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 200, 200, len(directory), len(content), 0)
    return seal(content + directory + end)


def noise():
    """Bytes that get longer by compressing them."""
    return np.random.default_rng(0).integers(0, 256, 1000, np.uint8).tobytes()


HARM = {
    "a huge shape": archive([("a.npy", npy(header((10**15,))))]),
    "a shape beyond all integers": archive([("a.npy", npy(header((10**30, 10**30))))]),
    "a shape below 0": archive([("a.npy", npy(header((-1, -2)), bytes(16)))]),
    "a huge shape of nothing": archive([("a.npy", npy(header((0, 10**30))))]),
    "elements of no size": archive([("a.npy", npy(header((10**15,), "|V0")))]),
    "many axes": archive([("a.npy", npy(header((1,) * 1000), bytes(8)))]),
    "a shape of text": archive([("a.npy", npy(header(("a",)), bytes(8)))]),
    "objects": archive([("a.npy", npy(header((1,), "|O"), b"cos\nsystem\n(S'x'\ntR."))]),
    "text": archive([("a.npy", npy(header((1,), "<U2"), bytes(8)))]),
    "a long header": archive([("a.npy", npy(str(header((1,))).ljust(60_000).encode(), bytes(8)))]),
    "a deep header": archive([("a.npy", npy(b"(" * 9_000))]),
    "no header": archive([("a.npy", b"")]),
    "another version of .npy": archive([("a.npy", npy(header((1,)), bytes(8), b"\x02\x00"))]),
    "bytes too few": archive([("a.npy", npy(header((2,)), bytes(15)))]),
    "bytes too many": archive([("a.npy", npy(header((2,)), bytes(17)))]),
    "a bomb": archive([("a.npy", npy(header((10**6,)), bytes(8 * 10**6)))], zipfile.ZIP_DEFLATED),
    "a bomb of another kind": archive([("a.npy", npy(header((10**6,)), bytes(8 * 10**6)))], zipfile.ZIP_LZMA),
    "a bomb of text": archive([("plain.json", b" " * 10**7 + b"{}")], zipfile.ZIP_DEFLATED),
    "one member ten thousand times": listed_again(),
    "members in members": nested(),
    "compressed, but no bomb": archive([("a.npy", npy(header((125,)), noise()))], zipfile.ZIP_DEFLATED),
    "no array": archive([("a.txt", npy(header(()), bytes(8)))]),
    "a long name": archive([("a" * 60_000, b"")]),
    "a folder": archive([("a/", b"")]),
    "an array in an array": archive([("a.npy", npy(header(()), bytes(8))), ("a/b.npy", npy(header(()), bytes(8)))]),
    "an array in a number": archive([("plain.json", b'{"a": 1}'), ("a/b.npy", npy(header(()), bytes(8)))]),
    "an array for a number": archive([("plain.json", b'{"a": 1}'), ("a.npy", npy(header(()), bytes(8)))]),
    "a list": archive([("plain.json", b"[]")]),
    "deep JSON": archive([("plain.json", b'{"a":' + b"[" * 100_000)]),
    "JSON of no known letters": archive([("plain.json", b"\xff\xfe\xfd")]),
    "an endless number": archive([("plain.json", b'{"a":' + b"9" * 100_000 + b"}")]),
}


@pytest.mark.parametrize("name", HARM)
def test_a_sealed_file_that_means_harm(name, tmp_path):
    """Refused, with memory in proportion to the file and not to what it declares."""
    path = tmp_path / "a.npz"
    path.write_bytes(HARM[name])
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match=r"expected a checkpoint saved as \.npz, got ") as caught:
            load(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 * len(HARM[name]) + 4_000_000
    assert len(str(caught.value)) < 1500


@given(st.binary(max_size=300) | st.binary(max_size=300).map(lambda x: digest(x + b"twograd 1 sha256 " + bytes(64))))
def test_random_bytes(tmp_path_factory, content):
    refused(tmp_path_factory.getbasetemp() / "random.npz", content)


@given(st.data())
def test_changed_and_sealed_again(tmp_path_factory, data):
    """Bytes changed under a right seal load as something or are refused; nothing else comes out."""
    content = bytearray(checkpoint.pack(STATE))
    for _ in range(data.draw(st.integers(1, 4))):
        where = regions(checkpoint.pack(STATE))[data.draw(st.sampled_from(sorted(regions(checkpoint.pack(STATE)))))]
        i = data.draw(st.integers(where.start, max(where.start, where.stop - 1)))
        content[i] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "changed.npz"
    path.write_bytes(digest(bytes(content)))
    try:
        assert isinstance(load(path), dict)
    except CheckpointError:
        pass


# --- faults while writing ---------------------------------------------------------------------------------------------


class Faulty:
    """Stands for `os` and `open` in the writer: lists its calls of the system, and lets number `at` go wrong."""

    CALLS = ("fsync", "replace", "open", "close", "remove")

    def __init__(self, monkeypatch, at=None, fault=None, piece=None):
        self.calls, self.at, self.fault, self.piece = [], at, fault, piece
        monkeypatch.setattr(checkpoint, "os", self)
        monkeypatch.setattr(checkpoint, "open", self.open_file, raising=False)  # this module's only

    def __getattr__(self, name):
        found = getattr(os, name)
        return (lambda *args: self.call(name, found, *args)) if name in self.CALLS else found

    def call(self, name, function, *args):
        self.calls.append(name)
        if len(self.calls) - 1 == self.at:
            self.fault()
        return function(*args)

    def open_file(self, path, mode, **options):
        if mode == "rb":
            return builtins.open(path, mode)
        return FaultyFile(self, self.call("open", lambda: builtins.open(path, mode, **options)))


class FaultyFile:
    """A file that takes `piece` bytes at a time, if there is one; a write that goes wrong leaves half of them."""

    def __init__(self, system, file):
        self.system, self.file = system, file

    def write(self, content):
        content = content[: self.system.piece]
        if len(self.system.calls) == self.system.at:
            self.file.write(content[: len(content) // 2])
        return self.system.call("write", self.file.write, content)

    def fileno(self):
        return self.file.fileno()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.system.call("close", lambda: None)


OLD, NEW = {"x": np.zeros(50)}, {"x": np.ones(50), "y": "new"}
CALLS = ["open", "write", "fsync", "close", "replace", "open", "fsync", "close", "remove"]
IN_PIECES = ["open", *["write"] * -(-len(checkpoint.pack(NEW)) // 100), *CALLS[2:]]


def test_the_order_of_the_calls(tmp_path, monkeypatch):
    """The bytes are on the disk before they get the name, and the name before `save` returns."""
    system = Faulty(monkeypatch)
    save(tmp_path / "a.npz", NEW)
    assert system.calls == CALLS
    system = Faulty(monkeypatch, piece=100)
    save(tmp_path / "a.npz", NEW)
    assert system.calls == IN_PIECES
    assert equal(load(tmp_path / "a.npz"), NEW)


@pytest.mark.parametrize(
    "fault", [OSError(errno.ENOSPC, "No space left on device"), OSError("odd"), KeyboardInterrupt()]
)
@pytest.mark.parametrize("piece", [None, 100])
@pytest.mark.parametrize("before", [True, False])
def test_a_fault_at_every_call(before, piece, fault, tmp_path, monkeypatch):
    """The file is what it was or the new one, nothing else is left, and the error names the file."""
    path = tmp_path / "a.npz"

    def fail():
        raise fault

    for at, call in enumerate(CALLS if piece is None else IN_PIECES):
        with monkeypatch.context() as patch:
            path.unlink(missing_ok=True)
            if before:
                save(path, OLD)
            Faulty(patch, at, fail, piece)
            if call == "remove" and isinstance(fault, OSError):  # it was renamed: there is nothing to remove
                save(path, NEW)
            else:
                with pytest.raises(type(fault)) as caught:
                    save(path, NEW)
                if isinstance(fault, OSError):
                    assert caught.value.filename == str(path) and caught.value.errno == fault.errno
                    assert (fault.strerror or str(fault)) in str(caught.value)
        renamed = at > (CALLS if piece is None else IN_PIECES).index("replace")
        assert os.listdir(tmp_path) == (["a.npz"] if before or renamed else [])
        if before or renamed:
            assert equal(load(path), NEW if renamed else OLD)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # that it has threads; the child only writes
@pytest.mark.parametrize("before", [True, False])
def test_death_at_every_call(before, tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    for at in range(len(IN_PIECES)):
        path.unlink(missing_ok=True)
        if before:
            save(path, OLD)
        child = os.fork()
        if not child:
            try:
                Faulty(monkeypatch, at, lambda: os._exit(9), 100)
                save(path, NEW)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
        renamed = at > IN_PIECES.index("replace")
        if before or renamed:
            assert equal(load(path), NEW if renamed else OLD)
        else:
            assert not path.exists()
        save(path, NEW)  # what a dead process left is in nobody's way
        assert equal(load(path), NEW)


def test_folders_that_cannot_be_synced(tmp_path, monkeypatch):
    def fault():
        raise OSError(errno.EINVAL, "Invalid argument")

    Faulty(monkeypatch, [i for i, call in enumerate(CALLS) if call == "fsync"][1], fault)
    save(tmp_path / "a.npz", NEW)
    assert equal(load(tmp_path / "a.npz"), NEW)


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_no_folder_or_one_that_takes_no_files(tmp_path):
    for path in (tmp_path / "none" / "a.npz", Path("/proc/a.npz")):
        with pytest.raises(OSError, match=re.escape(str(path))) as caught:
            save(path, NEW)
        assert caught.value.filename == str(path)


@pytest.mark.skipif(sys.platform == "win32", reason="permissions differ")
def test_an_unwritable_folder(tmp_path):
    """Root may write everywhere, so a child process gives its rights away first."""
    save(tmp_path / "a.npz", OLD)
    os.chmod(tmp_path, 0o555)
    for folder in tmp_path.parents[:2]:
        os.chmod(folder, 0o755)
    code = (
        "import os, sys, hashlib, json, zipfile, numpy as np, vector\n"  # the modules may be out of reach then, too
        "if os.getuid() == 0: os.setgid(65534); os.setuid(65534)\n"
        "try: vector.checkpoint.save(sys.argv[1], {'x': np.ones(3)})\n"
        "except PermissionError as error: print(error.filename)\n"
    )
    try:
        words = [sys.executable, "-c", code, str(tmp_path / "a.npz")]
        done = subprocess.run(words, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)
        assert (done.stdout.strip(), done.stderr) == (str(tmp_path / "a.npz"), "")
        assert os.listdir(tmp_path) == ["a.npz"]
        assert equal(load(tmp_path / "a.npz"), OLD)
    finally:
        os.chmod(tmp_path, 0o755)


def test_a_disk_that_is_full(tmp_path):
    """The kernel itself says no: a process that may write files of 4,000 bytes only."""
    resource = pytest.importorskip("resource")
    save(tmp_path / "a.npz", OLD)
    code = (
        "import resource, signal, sys, numpy as np, vector\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))\n"
        "try: vector.checkpoint.save(sys.argv[1], {'x': np.ones(3000)})\n"
        "except OSError as error: print(error.errno, error.filename)\n"
    )
    words = [sys.executable, "-c", code, str(tmp_path / "a.npz")]
    done = subprocess.run(words, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)
    assert (done.stdout.split(), done.stderr) == ([str(errno.EFBIG), str(tmp_path / "a.npz")], "")
    assert os.listdir(tmp_path) == ["a.npz"] and resource
    assert equal(load(tmp_path / "a.npz"), OLD)


# --- model files ------------------------------------------------------------------------------------------------------


def small_model(seed=0):
    return nn.Sequential(nn.Dense(2, 3, "relu", seed=seed), nn.Dense(3, 2, seed=seed + 1, dtype=np.float32))


def bits(model):
    return {name: (array.dtype, array.shape, array.tobytes()) for name, array in model.state_dict().items()}


def test_a_model_file_is_an_npz_of_its_parameters(tmp_path):
    model, other = small_model(), small_model(5)
    model.save(tmp_path / "model.npz")
    with np.load(tmp_path / "model.npz", allow_pickle=False) as file:
        assert all(same(file[name], array) for name, array in model.state_dict().items())
        assert file.files == list(model.state_dict())
    other.load(tmp_path / "model.npz")
    assert bits(other) == bits(model)
    np.savez(tmp_path / "numpy.npz", **model.state_dict())
    other = small_model(5)
    other.load(tmp_path / "numpy.npz")
    assert bits(other) == bits(model)


@pytest.mark.parametrize("writer", ["save", "numpy"])
def test_a_damaged_model_file_never_loads_as_another_model(writer, tmp_path):
    """Without a seal, a flip that hits what zip's CRC-32 does not cover is one that changes nothing."""
    model, other, path = small_model(), small_model(5), tmp_path / "model.npz"
    if writer == "save":
        model.save(path)
    else:
        np.savez(path, **model.state_dict())
    content, before, passed = path.read_bytes(), bits(other), []
    for i in range(len(content)):
        damaged = bytearray(content)
        damaged[i] ^= 1 << i % 8
        path.write_bytes(damaged)
        try:
            other.load(path)
        except ValueError as error:
            assert "expected" in str(error)
            assert bits(other) == before
        else:
            passed.append(i)
            assert bits(other) == bits(model)
            other = small_model(5)
    assert (writer == "numpy") == bool(passed)
    for n in range(len(content)):
        path.write_bytes(content[:n])
        with pytest.raises(CheckpointError, match=r"expected a model saved as \.npz"):
            other.load(path)
    assert bits(other) == before


# --- optimizers -------------------------------------------------------------------------------------------------------

KINDS = {
    "sgd": lambda E, p: E.optim.SGD(p, 0.1),
    "momentum": lambda E, p: E.optim.SGD(p, 0.1, momentum=0.9),
    "nesterov": lambda E, p: E.optim.SGD(p, 0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    "adam": lambda E, p: E.optim.Adam(p, 0.05, betas=(0.8, 0.9), weight_decay=0.1),
    "adamw": lambda E, p: E.optim.AdamW(p, 0.05),
}


def parameters(engine):
    """Six numbers, as six Values or as two tensors."""
    if engine is scalar:
        return [scalar.Value(float(i)) for i in range(6)]
    return [vector.Tensor(np.arange(4.0).reshape(2, 2)), vector.Tensor(np.array([4.0, 5.0]))]


def take_steps(ps, optimizer, start, stop):
    for k in range(start, stop):
        i = 0
        for p in ps:
            gradient = np.sin(np.arange(i, i + np.size(p.data)) + k).reshape(np.shape(p.data))
            p.grad = gradient if np.ndim(gradient) else float(gradient)
            i += np.size(p.data)
        optimizer.step()
    return np.concatenate([np.ravel(p.data) for p in ps])


def copy_parameters(source, target):
    values = np.concatenate([np.ravel(p.data) for p in source])
    for p in target:
        now, values = values[: np.size(p.data)], values[np.size(p.data) :]
        p.data = float(now[0]) if isinstance(p, scalar.Value) else now.reshape(p.shape)


@pytest.mark.parametrize("first", [scalar, vector])
@pytest.mark.parametrize("second", [scalar, vector])
@pytest.mark.parametrize("kind", KINDS)
def test_an_optimizer_goes_on_in_either_engine(kind, first, second):
    ps = parameters(first)
    optimizer = KINDS[kind](first, ps)
    take_steps(ps, optimizer, 0, 3)
    optimizer.lr = 0.07
    state = optimizer.state_dict()
    qs = parameters(second)
    other = KINDS[kind](second, qs)
    copy_parameters(ps, qs)
    other.load_state_dict(state)
    again = other.state_dict()
    assert equal(again, state)
    expected = take_steps(ps, optimizer, 3, 6)
    assert equal(again, state)  # copies, which further steps leave alone
    assert same(take_steps(qs, other, 3, 6), expected)


def test_a_state_is_loaded_into_the_arrays_that_a_recorded_step_holds():
    x, y = np.random.default_rng(0).random((5, 2)), np.array([0, 1, 0, 1, 1])

    def run(compile):
        model = small_model()
        optimizer = optim.Adam(model.parameters(), 0.1)
        step = model.train_step(optimizer, vector.cross_entropy)
        step = vector.compile(step) if compile else step
        for _ in range(3):
            step(x, y)
        saved = model.state_dict(), optimizer.state_dict()
        for _ in range(3):
            step(x, y)
        after = bits(model)
        model.load_state_dict(saved[0])
        optimizer.load_state_dict(saved[1])
        for _ in range(3):
            step(x, y)
        assert bits(model) == after
        return after

    assert run(True) == run(False)


def wrong_optimizer_states():
    def change(state):
        state["sums"] = np.ones(6)  # would be taken over if another were not wrong
        return state

    return {
        "names": (lambda s: s.pop("sums"), ValueError, "load_state_dict: expected the names", "squares"),
        "more names": (lambda s: s.update(velocity=np.zeros(6)), ValueError, "expected the names", "velocity"),
        "kind": (lambda s: s["settings"].update(kind="AdamW"), ValueError, "expected the settings", "AdamW"),
        "betas": (lambda s: s["settings"].update(betas=[0.5, 0.9]), ValueError, "expected the settings", "0.5"),
        "shape": (
            lambda s: change(s).update(squares=np.ones((2, 3))),
            ValueError,
            "load_state_dict: squares: expected shape (6,), got (2, 3)",
        ),
        "too few": (lambda s: change(s).update(powers=np.ones(1)), ValueError, "powers: expected shape (2,), got (1,)"),
        "bools": (lambda s: change(s).update(squares=np.ones(6, bool)), TypeError, "squares: expected a real number"),
        "lr": (
            lambda s: change(s).update(lr="fast"),
            TypeError,
            "load_state_dict: lr: expected a real number, got str",
        ),
    }


@pytest.mark.parametrize("name", wrong_optimizer_states())
def test_a_state_dict_of_another_optimizer(name):
    change, kind, *words = wrong_optimizer_states()[name]

    def mistake(E, N, A):
        optimizer = KINDS["adam"](E, parameters(E))
        take_steps(optimizer.parameters, optimizer, 0, 2)
        before, state = optimizer.state_dict(), optimizer.state_dict()
        change(state)
        try:
            optimizer.load_state_dict(state)
        finally:
            assert equal(optimizer.state_dict(), before), "a failed load changed numbers"

    alike(mistake, kind, *words)


def test_an_optimizer_of_nothing_and_one_that_says_nothing_of_its_state():
    for engine in (scalar, vector):
        for kind in KINDS.values():
            optimizer = kind(engine, [])
            optimizer.load_state_dict(optimizer.state_dict())
        with pytest.raises(NotImplementedError):
            engine.optim.Optimizer([], 0.1, 0.0).state_dict()


# --- runs -------------------------------------------------------------------------------------------------------------

IMAGES = np.random.default_rng(7).integers(0, 256, (46, 3, 2), np.uint8)
LABELS = np.random.default_rng(8).integers(0, 3, 46)
EPOCHS, BATCHES = 3, 5  # of 10 images, the last of 6


class Stop(Exception):
    """What a test stops a run with."""


class Job:
    """A model and an optimizer for a short run, always made anew and alike."""

    def __init__(self, optimizer="adamw", compile=True, seed=0, bits=np.random.PCG64, dtype=np.float32):
        drop = nn.Dropout(0.4)
        drop.rng = np.random.Generator(bits(seed + 2))
        layers = nn.Dense(6, 5, "relu", seed=seed, dtype=dtype), nn.Dense(5, 3, seed=seed + 1, dtype=dtype)
        self.model = nn.Sequential(nn.Flatten(), layers[0], drop, layers[1])
        self.optimizer = OPTIMIZERS[optimizer](self.model.parameters())
        self.options = {
            "epochs": EPOCHS, "batch_size": 10, "seed": 3, "compile": compile, "validation": (IMAGES[:9], LABELS[:9]),
            "schedule": optim.cosine(0.1, EPOCHS * BATCHES, warmup=4), "threads": 1,
        }  # fmt: skip

    def fit(self, images=IMAGES, labels=LABELS, **options):
        return self.model.fit(images, labels, self.optimizer, **{**self.options, **options})

    def state(self):
        rng = self.model.layers[2].rng.bit_generator.state
        return {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(), "rng": rng}

    def stopped(self, at, path, **options):
        """Run until step number `at` is to begin."""
        follow = {**self.options, **options}["schedule"]

        def schedule(step):
            if step == at and schedule.under_way:
                raise Stop
            schedule.under_way = True
            return follow(step)

        schedule.under_way = True
        with pytest.raises(Stop):
            self.fit(checkpoint=path, **{**options, "schedule": schedule})
        return self


def finished(*args, **options):
    job = Job(*args)
    return job.fit(**options), job.state()


def same_end(found, expected):
    assert repr(found[0]) == repr(expected[0])
    assert equal(found[1], expected[1])


KINDS_AND_EVERY = [("sgd", 1), ("momentum", 1), ("adam", 1), ("adamw", 1), ("adamw", 4), ("adamw", None)]


@pytest.mark.parametrize("compile", [True, False])
@pytest.mark.parametrize("optimizer, every", KINDS_AND_EVERY)
def test_a_run_stopped_anywhere_ends_with_the_same_bits(optimizer, compile, every, tmp_path):
    expected = finished(optimizer, compile)
    for at in range(1, EPOCHS * BATCHES):
        path = tmp_path / f"{at}.npz"
        Job(optimizer, compile).stopped(at, path, every=every)
        written = max(at - at % BATCHES, at - at % every if every else 0)
        assert path.exists() == bool(written)
        assert not written or load(path)["run"]["step"] == written
        job = Job(optimizer, compile, seed=50) if written else Job(optimizer, compile)  # all numbers are the file's
        same_end((job.fit(checkpoint=path, every=every), job.state()), expected)
        assert load(path)["run"]["step"] == EPOCHS * BATCHES
    assert len(os.listdir(tmp_path)) == EPOCHS * BATCHES - 1


@pytest.mark.parametrize("where", ["evaluate", "on_epoch"])
def test_a_run_stopped_between_the_last_batch_and_the_end_of_an_epoch(where, tmp_path, monkeypatch):
    """The last batch is shorter than the others, and its step is written before the epoch is."""
    path = tmp_path / "a.npz"
    expected = finished()

    def stop(*_, **__):
        raise Stop

    for epoch in (1, 2, 3):
        job = Job(seed=epoch) if epoch > 1 else Job()
        options = {"on_epoch": stop} if where == "on_epoch" else {}
        with monkeypatch.context() as patch:
            if where == "evaluate":
                patch.setattr(job.model, "evaluate", stop)
            with pytest.raises(Stop):
                job.fit(checkpoint=path, every=1, epochs=epoch, **options)
        assert load(path)["run"]["step"] == epoch * BATCHES
        assert len(load(path)["run"]["history"]) == epoch - 1
        job = Job(seed=9)
        found = job.fit(checkpoint=path, epochs=epoch), job.state()
    same_end(found, expected)


@pytest.mark.parametrize("bits", [np.random.MT19937, np.random.Philox, np.random.SFC64])
def test_any_random_generator(bits, tmp_path):
    expected = finished("sgd", True, 0, bits)
    Job("sgd", True, 0, bits).stopped(7, tmp_path / "a.npz", every=1)
    job = Job("sgd", True, 9, bits)
    same_end((job.fit(checkpoint=tmp_path / "a.npz"), job.state()), expected)
    with pytest.raises(CheckpointError, match="expected a checkpoint of this run"):
        Job("sgd").fit(checkpoint=tmp_path / "a.npz")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_stopped_again_and_again(dtype, tmp_path):
    """Recorded and not by turns, which gives the same bits; the same job after a stop, and a new one."""
    expected = finished("adam", True, 0, np.random.PCG64, dtype)
    job = Job("adam", True, 0, np.random.PCG64, dtype)
    for at in range(1, EPOCHS * BATCHES):
        job.stopped(at, tmp_path / "a.npz", every=1, compile=at % 2 == 0)
        if at % 3:
            job = Job("adam", True, at, np.random.PCG64, dtype)
    same_end((job.fit(checkpoint=tmp_path / "a.npz"), job.state()), expected)


def test_without_schedule_the_learning_rate_is_the_optimizers(tmp_path):
    def on_epoch(job):
        def halve(row):
            job.optimizer.lr /= 2

        return halve

    job = Job()
    expected = job.fit(schedule=None, on_epoch=on_epoch(job)), job.state()
    for epochs in (1, 2, 3):
        job = Job()
        history = job.fit(schedule=None, on_epoch=on_epoch(job), epochs=epochs, checkpoint=tmp_path / "a.npz")
    same_end((history, job.state()), expected)


def test_a_finished_run_is_not_run_again_and_a_longer_one_goes_on(tmp_path):
    path, schedule = tmp_path / "a.npz", optim.constant(0.05)
    expected = finished(schedule=schedule, epochs=2)
    Job().fit(schedule=schedule, epochs=2, checkpoint=path)
    rows, job = [], Job(seed=4)
    same_end((job.fit(schedule=schedule, epochs=2, checkpoint=path, on_epoch=rows.append), job.state()), expected)
    assert not rows
    job = Job(seed=5)
    history = job.fit(schedule=schedule, epochs=4, checkpoint=path, on_epoch=rows.append)
    assert [row["epoch"] for row in rows] == [3, 4]
    same_end((history, job.state()), finished(schedule=schedule, epochs=4))


def test_a_run_without_checkpoint_writes_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    finished()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("folder", ["none", "file"])
def test_a_folder_that_takes_no_files_is_named_before_the_first_step(folder, tmp_path):
    (tmp_path / "file").touch()
    job = Job()
    before = job.state()
    with pytest.raises(OSError, match="expected a folder that is there and takes files") as caught:
        job.fit(checkpoint=tmp_path / folder / "a.npz")
    assert caught.value.filename == str(tmp_path / folder / "a.npz")
    assert equal(job.state(), before)


def test_how_often_it_is_written(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(vector.training.run, "save", lambda path, state: written.append(state["run"]["step"]))
    Job().fit(checkpoint=tmp_path / "a.npz", every=4)
    assert written == [4, 5, 8, 10, 12, 15]
    written.clear()
    Job().fit(checkpoint=tmp_path / "a.npz")
    assert written == [5, 10, 15]


OTHERS = {
    "batch_size": ({"batch_size": 11}, "batch_size 10, where this run has 11"),
    "seed": ({"seed": 4}, "seed 3, where this run has 4"),
    "samples": ({"images": IMAGES[:45], "labels": LABELS[:45]}, "samples 46, where this run has 45"),
    "images": ({"images": IMAGES[::-1]}, "data uint8 .* crc32"),
    "labels": ({"labels": LABELS[::-1]}, "data uint8 .* crc32"),
    "schedule": ({"schedule": optim.cosine(0.1, 16, warmup=4)}, "learning rate of the last step"),
    "no schedule": ({"schedule": None}, "learning rate of the last step .*, where this run has None"),
    "epochs": ({"epochs": 1}, "7 steps, where 1 epochs have 5"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_checkpoint_of_other_settings_changes_nothing(name, tmp_path):
    options, words = OTHERS[name]
    untouched(tmp_path / "a.npz", Job(seed=7), words, **options)


def untouched(path, job, words, **options):
    """`fit` refuses the checkpoint of step 7 and leaves the file, the model and the optimizer as they were."""
    if not path.exists():
        Job().stopped(7, path, every=1)
    content, before = path.read_bytes(), job.state()
    with pytest.raises(CheckpointError, match=f"{path}: expected .*{words}.*: (give|use|read)"):
        job.fit(checkpoint=path, **options)
    assert equal(job.state(), before)
    assert path.read_bytes() == content


def other_jobs():
    narrow, fewer, plain = Job(), Job(), Job()
    narrow.model = nn.Sequential(nn.Flatten(), nn.Dense(6, 4), nn.Dropout(0.4), nn.Dense(4, 3))
    fewer.model = nn.Sequential(nn.Flatten(), nn.Dense(6, 3), nn.Dropout(0.4))
    plain.model.layers[2].rng = None
    plain.state = lambda: {"model": plain.model.state_dict(), "optimizer": plain.optimizer.state_dict()}
    for job in (narrow, fewer):
        job.optimizer = optim.AdamW(job.model.parameters())
        job.state = lambda job=job: {"model": job.model.state_dict(), "optimizer": job.optimizer.state_dict()}
    return {
        "another kind of optimizer": (Job("adam"), "load_state_dict: expected the "),
        "another setting of the optimizer": (Job("sgd"), "load_state_dict: expected the "),
        "another dtype": (Job(dtype=np.float64), "dtypes"),
        "another width": (narrow, "dtypes|expected shape"),
        "fewer layers": (fewer, "dtypes|names"),
        "no random generator": (plain, "generators"),
    }


@pytest.mark.parametrize("name", other_jobs())
def test_a_checkpoint_of_another_model_or_optimizer_changes_nothing(name, tmp_path):
    untouched(tmp_path / "a.npz", *other_jobs()[name])


def spoiled():
    def at(*keys, value):
        def change(state):
            for key in keys[:-1]:
                state = state[key]
            state[keys[-1]] = value

        return change

    return {
        "part missing": lambda s: s.pop("run"),
        "part more": at("more", value=1),
        "run of nothing": at("run", value={}),
        "run of text": at("run", value="run"),
        "no steps": at("run", "step", value="seven"),
        "half a step": at("run", "step", value=7.5),
        "not a number of steps": at("run", "step", value=math.nan),
        "steps below 0": at("run", "step", value=-1),
        "steps of another epoch": at("run", "step", value=4),
        "a history of numbers": at("run", "history", value=[1]),
        "a history that skips": at("run", "history", value=[{"epoch": 2}]),
        "a history of text": at("run", "history", value="ab"),
        "a loss of text": at("run", "loss", value="low"),
        "right of a list": at("run", "right", value=[]),
        "a model of numbers": at("model", value=3),
        "a parameter of text": at("model", "1.bias", value="x"),
        "a parameter of another shape": at("model", "1.bias", value=np.zeros((3, 1), np.float32)),
        "an optimizer of numbers": at("optimizer", value=3),
        "optimizer settings of arrays": at("optimizer", "settings", value=np.zeros(3)),
        "powers of another shape": at("optimizer", "powers", value=np.zeros(3)),
        "another kind of generator": at("generators", "0", "bit_generator", value="MT19937"),
        "a generator's state of text": at("generators", "0", "state", value="x"),
        "a generator's state below 0": at("generators", "0", "state", "state", value=-1),
        "a generator's state of too many bits": at("generators", "0", "state", "inc", value=2**300),
        "settings of numbers": at("settings", value=3),
    }


@pytest.mark.parametrize("name", spoiled())
def test_a_sealed_checkpoint_of_nonsense_changes_nothing(name, tmp_path):
    path = tmp_path / "a.npz"
    Job().stopped(7, path, every=1)
    state = load(path)
    state["settings"]["learning rate of the last step"] = None
    spoiled()[name](state)
    save(path, state)
    untouched(path, Job(seed=7), "a checkpoint of this run, got another: ", schedule=None)


def test_a_damaged_checkpoint_changes_nothing(tmp_path):
    path = tmp_path / "a.npz"
    Job().stopped(7, path, every=1)
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    untouched(path, Job(seed=7), "cut short")
    path.write_bytes(content[:500] + bytes([content[500] ^ 1]) + content[501:])
    untouched(path, Job(seed=7), "damaged")
    Job().model.save(path)
    untouched(path, Job(seed=7), "a file with .*0.bias.* in place of .*optimizer")


@pytest.mark.parametrize("options", [{"every": 0}, {"every": -3}, {"every": 5, "checkpoint": None}])
def test_every_needs_a_number_and_a_path(options, tmp_path):
    with pytest.raises(ValueError, match="fit: expected every of 1 step or more, with a checkpoint path, got"):
        Job().fit(**{"checkpoint": tmp_path / "a.npz", **options})


def test_what_is_not_finite_is_not_written(tmp_path):
    """The last good checkpoint stays, and says where the run can be taken up."""
    path = tmp_path / "a.npz"

    def spoil(at, what):
        job = Job(compile=False)

        def schedule(step):
            if step == at:
                what(job)
            return 0.05

        with np.errstate(all="ignore"), pytest.raises(FloatingPointError, match="the loss is "):
            job.fit(schedule=schedule, checkpoint=path, every=1, validation=None)
        assert load(path)["run"]["step"] == at
        path.unlink()

    def parameters(job):
        job.model.parameters()[0].data[0, 0] = np.nan

    def bias(job):
        job.model.parameters()[-1].data[:] = np.inf

    for at in (3, 5, 8):
        spoil(at, parameters)
        spoil(at, bias)


def test_a_loss_that_is_not_finite_is_not_written(tmp_path):
    """Though the parameters are: adding infinity changes no gradient."""
    job, calls = Job(compile=False), []

    def loss(logits, labels):
        calls.append(labels)
        return vector.cross_entropy(logits, labels) + (np.inf if len(calls) == 4 else 0.0)

    with pytest.raises(FloatingPointError, match="the loss is inf at epoch 1, batch 4"):
        job.fit(loss=loss, epochs=1, checkpoint=tmp_path / "a.npz", every=1, validation=None)
    assert load(tmp_path / "a.npz")["run"]["step"] == 3


@pytest.mark.parametrize("compile", [True, False])
def test_ctrl_c_leaves_a_model_that_works_and_a_run_that_goes_on(compile, tmp_path):
    expected = finished("adamw", compile)
    job = Job("adamw", compile)
    follow = job.options["schedule"]

    def schedule(step):
        if step == 8:
            raise KeyboardInterrupt
        return follow(step)

    with pytest.raises(KeyboardInterrupt):
        job.fit(schedule=schedule, checkpoint=tmp_path / "a.npz", every=3)
    assert np.isfinite(job.model.evaluate(IMAGES, LABELS)).all()
    assert load(tmp_path / "a.npz")["run"]["step"] == 6
    same_end((job.fit(checkpoint=tmp_path / "a.npz"), job.state()), expected)


@pytest.mark.parametrize("at", range(len(CALLS) - 1))
def test_ctrl_c_while_writing(at, tmp_path, monkeypatch):
    expected, path = finished(), tmp_path / "a.npz"
    Job().stopped(3, path, every=1)

    def interrupt():
        raise KeyboardInterrupt

    job = Job()
    with monkeypatch.context() as patch:
        Faulty(patch, at, interrupt)
        with pytest.raises(KeyboardInterrupt):
            job.fit(checkpoint=path, every=1)
    assert os.listdir(tmp_path) == ["a.npz"]
    assert load(path)["run"]["step"] == (4 if at > CALLS.index("replace") else 3)
    same_end((job.fit(checkpoint=path, every=1), job.state()), expected)


def test_an_interrupted_resume_changes_nothing(tmp_path, monkeypatch):
    path, job = tmp_path / "a.npz", Job(seed=6)
    Job().stopped(7, path, every=1)
    before, load_state = job.state(), job.optimizer.load_state_dict
    calls = []

    def interrupted(state):
        calls.append(state)
        if len(calls) == 1:
            raise KeyboardInterrupt
        load_state(state)

    monkeypatch.setattr(job.optimizer, "load_state_dict", interrupted)
    with pytest.raises(KeyboardInterrupt):
        job.fit(checkpoint=path)
    assert len(calls) == 2
    assert equal(job.state(), before)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_killed_at_random_moments(capsys):
    """$KILLS of them, 10 unless told."""
    outcomes = kill_and_resume(int(os.environ.get("KILLS", "10")))
    with capsys.disabled():
        print(f"\n{report(outcomes)}")
    assert all(outcome.same and not outcome.unreadable for outcome in outcomes)


def test_parameters_that_are_not_finite_are_not_kept(tmp_path):
    """The loss of a last step is finite, and what the step made of the parameters is not."""
    x, y = np.full((4, 2), 1e3, np.float32), np.zeros(4, np.int64)
    model = nn.Sequential(nn.Dense(2, 3, seed=0, dtype=np.float32))
    with np.errstate(all="ignore"):
        history = model.fit(x, y, optim.SGD(model.parameters(), 1e38), checkpoint=tmp_path / "run.npz")
    assert math.isfinite(history[0]["loss"])
    assert not all(np.isfinite(p.data).all() for p in model.parameters())
    assert list(tmp_path.iterdir()) == []
