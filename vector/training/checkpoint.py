"""Save nested dicts of arrays and plain values in one file, which is whole or refused.

>>> import os, tempfile
>>> with tempfile.TemporaryDirectory() as folder:
...     path = os.path.join(folder, "state.npz")
...     save(path, {"step": 3, "model": {"weight": np.ones((2, 3))}})
...     with np.load(path) as arrays:  # numpy can read it without this module
...         print(arrays["model/weight"].shape)
...     load(path)["step"]
(2, 3)
3

The file is an .npz, which numpy reads on every machine; safetensors would be one more dependency, has no checksum and
keeps no numbers or lists beside the arrays. Its last bytes, which zip takes for a comment, are a seal:

    twograd VERSION sha256 DIGEST

where DIGEST is that of every byte before it. One comparison finds every cut and every flipped bit before anything is
parsed. A digest is no signature: anybody can forge a file and seal it. Therefore `load` unpickles and unpacks nothing,
and takes memory for no more than a few times the file's size, whatever the file declares.

Plain values are what JSON has: None, bool, int, float, str, lists, dicts with text for keys (a tuple comes back as a
list). They stand together in the member `plain.json`; a dict without any has no such member.
"""

from __future__ import annotations

import io
import math
import os
import re
import stat
from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import files

VERSION = 1
SEAL = rb"twograd (\d{1,9}) sha256 ([0-9a-f]{64})\Z"
LONGEST_SEAL = 90
DIGEST = 64  # hexadecimal digits
PLAIN = "plain.json"
UNSEALED = rb"(?s)PK\x05\x06.{16}\0\0\Z"  # zip's last record, with no comment to come
KINDS = "biufc"  # bools and numbers


class CheckpointError(ValueError):
    """The file is not what was expected: cut short, damaged, of another version, or of or for something else."""


def save(path: str | os.PathLike[str], state: Mapping[str, Any]) -> None:
    """Write a nested dict of arrays and plain values, whole or not at all: the previous file stays until the new one is
    whole and on the disk.

    The same state makes the same bytes. A link is followed, and the file keeps its permissions. A process that dies
    while writing leaves a file `*.tmp` beside it, which may be removed. Raises OSError naming the path when it cannot
    be written, TypeError for values that are neither arrays of numbers nor plain, ValueError for keys that are empty,
    do not print, or hold a slash.
    """
    files.write(path, pack(state))


def load(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read what `save` wrote. Raises CheckpointError, a ValueError, naming the file, what was expected, what came and
    what to do; OSError when the file cannot be read.
    """
    return read(path, "a checkpoint saved as .npz", sealed=True)


# --- writing ----------------------------------------------------------------------------------------------------------


def pack(state: Mapping[str, Any]) -> bytes:
    """Return the bytes of the file that holds `state`."""
    import hashlib
    import json
    import zipfile

    arrays: dict[str, np.ndarray] = {}
    plain = split(state, "", arrays)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:  # ZipInfo's own date, 1980: the same state makes the same bytes
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, version=(1, 0), allow_pickle=False)
        if plain:
            try:
                archive.writestr(zipfile.ZipInfo(PLAIN), json.dumps(plain))
            except (TypeError, ValueError) as error:
                raise TypeError(f"save: expected arrays and plain values, got {error}") from error
        archive.comment = f"twograd {VERSION} sha256 ".encode() + bytes(DIGEST)
    content = file.getbuffer()
    content[-DIGEST:] = hashlib.sha256(content[:-DIGEST]).hexdigest().encode()
    return bytes(content)


def split(state: Mapping[str, Any], above: str, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Return the dict without its arrays; put these into `arrays`, by their keys joined with slashes."""
    plain: dict[str, Any] = {}
    for key, value in state.items():
        if not isinstance(key, str) or not key or not key.isprintable() or set(key) & set("/\\"):
            raise ValueError(f"save: expected keys of printable text without a slash, got {key!r} in {above or 'it'}")
        if isinstance(value, Mapping):
            plain[key] = split(value, f"{above}{key}/", arrays)
        elif not isinstance(value, np.ndarray):
            plain[key] = value
        elif value.dtype.kind in KINDS:
            arrays[f"{above}{key}"] = value
        else:
            raise TypeError(f"save: {above}{key}: expected an array of numbers, got {value.dtype}")
    return plain


# --- reading ----------------------------------------------------------------------------------------------------------


def read(path: str | os.PathLike[str], what: str, sealed: bool) -> dict[str, Any]:
    """Read a file that `save` wrote or, unless it must be `sealed`, `np.savez`. Errors call the file `what`.

    Raises as `load` does.
    """

    def wrong(came: str, advice: str) -> CheckpointError:
        return CheckpointError(f"{os.fspath(path)}: expected {what}, got {came}: {advice}")

    elsewhere = "give the path of such a file"
    if not stat.S_ISREG(os.stat(path).st_mode):  # a pipe would be waited for, a device may never end
        raise wrong("a folder, device or pipe", elsewhere)
    with open(path, "rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - LONGEST_SEAL))
        end = file.read(LONGEST_SEAL)
        seal = re.search(SEAL, end)
        if seal is None and (sealed or not re.search(UNSEALED, end)):
            raise wrong("a file without a seal at its end, so it is cut short or something else", elsewhere)
        file.seek(0)
        content = file.read()
    if seal is not None:
        verify_seal(content, seal, wrong)
    try:
        return parse(content)
    except Exception as error:  # whatever zip, numpy and JSON make of bytes that were not written here
        raise wrong(f"{type(error).__name__}: {error}"[:1000], elsewhere) from error


def verify_seal(content: bytes, seal: re.Match[bytes], wrong: Any) -> None:
    """Raise CheckpointError when the seal has another version or another digest."""
    import hashlib

    version, digest = int(seal[1]), seal[2].decode()
    if version != VERSION:
        raise wrong(f"format version {version}, where this is {VERSION}", "read it with the twograd that wrote it")
    if hashlib.sha256(memoryview(content)[:-DIGEST]).hexdigest() != digest:
        raise wrong("one whose SHA-256 is not that of its seal, so it is damaged", "use another copy of it")


def parse(content: bytes) -> dict[str, Any]:
    """Parse the nested dict in a file's bytes. Raises any kind of error for bytes that hold none."""
    import json
    import zipfile

    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {member.filename: member for member in archive.infolist()}
        if any(m.compress_type != zipfile.ZIP_STORED for m in members.values()):
            raise ValueError("compressed members, which can be of any size once unpacked; np.savez writes none")
        if sum(m.file_size for m in archive.infolist()) > len(content):
            raise ValueError("members of more bytes than the file has")
        plain = members.pop(PLAIN, None)
        state = {} if plain is None else json.loads(archive.read(plain))
        if not isinstance(state, dict):
            raise ValueError(f"{PLAIN} without a dict")
        for name, member in members.items():
            *folders, key = name.removesuffix(".npy").split("/")
            into = state
            for folder in folders:
                into = into.setdefault(folder, {})
            if key in into or not name.endswith(".npy"):
                raise ValueError(f"a member {name!r} that is no array or is there twice")
            into[key] = parse_array(archive.read(member))
    return state


def parse_array(content: bytes) -> np.ndarray:
    """Parse the bytes of an .npy file. Trusts the header no further than the bytes go."""
    file = io.BytesIO(content)
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError("an array that is not of .npy version 1.0")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    if dtype.kind not in KINDS:
        raise ValueError(f"an array of {dtype}, not of numbers")
    declared, there = math.prod(shape) * dtype.itemsize, len(content) - file.tell()
    if declared != there:
        raise ValueError(f"an array of shape {shape} and {dtype} with {there} bytes in place of {declared}")
    return np.ndarray(shape, dtype, content, file.tell(), order="F" if fortran else "C").copy(order="K")
