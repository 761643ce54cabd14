"""Bytes of checkpoint files, whole and forged, and a system whose calls go wrong while one is written."""

import hashlib
import io
import os
import zipfile

import numpy as np
import pytest

from vector import files, nn
from vector.checkpoint import CheckpointError, load
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


class Faulty:
    """Stands for `os` in the writer: lists its calls of the system, and lets number `at` go wrong.

    A write takes `piece` bytes at a time, if there is one; one that goes wrong leaves half of them.
    """

    CALLS = ("open", "fchmod", "write", "fsync", "close", "replace", "remove")

    def __init__(self, monkeypatch, at=None, fault=None, piece=None):
        self.calls, self.at, self.fault, self.piece = [], at, fault, piece
        monkeypatch.setattr(files, "os", self)

    def __getattr__(self, name):
        found = getattr(os, name)
        if name == "write":
            return self.write
        return (lambda *args: self.call(name, found, *args)) if name in self.CALLS else found

    def call(self, name, function, *args):
        self.calls.append(name)
        if len(self.calls) - 1 == self.at:
            self.fault()
        return function(*args)

    def write(self, descriptor, content):
        content = content[: self.piece]
        if len(self.calls) == self.at:
            os.write(descriptor, content[: len(content) // 2])
        return self.call("write", os.write, descriptor, content)


OLD, NEW = {"x": np.zeros(50)}, {"x": np.ones(50), "y": "new"}


def calls(before, piece=None):
    """The calls that write NEW, where a file was before or not."""
    writes = -(-len(checkpoint.pack(NEW)) // piece) if piece else 1
    start = ["open", *["fchmod"] * before, *["write"] * writes]
    return [*start, "fsync", "close", "replace", "open", "fsync", "close", "remove"]


def small_model(seed=0):
    return nn.Sequential(nn.Dense(2, 3, "relu", seed=seed), nn.Dense(3, 2, seed=seed + 1, dtype=np.float32))


def bits(model):
    return {name: (array.dtype, array.shape, array.tobytes()) for name, array in model.state_dict().items()}
