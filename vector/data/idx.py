"""IDX files, in which the MNIST family of data sets comes.

>>> import os, tempfile
>>> with tempfile.TemporaryDirectory() as folder:
...     path = os.path.join(folder, "numbers.idx")
...     with open(path, "wb") as file:
...         _ = file.write(bytes([0, 0, 0x08, 1, 0, 0, 0, 3, 7, 8, 9]))  # unsigned bytes, one axis of length 3
...     read_idx(path)
array([7, 8, 9], dtype=uint8)
"""

from __future__ import annotations

import math
import os
import stat
from typing import IO

import numpy as np

DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
LONGEST_HEADER = 4 + 4 * 255


def read_idx(path: str | os.PathLike[str]) -> np.ndarray:
    """Read the array in an IDX file, gzipped or not, and give it the machine's byte order.

    An IDX file is two zero bytes, a dtype code, the number of dimensions, each dimension as a big-endian
    uint32; then the elements, big-endian, the last dimension fastest. Raises ValueError, naming the file, for
    any other, and for a folder, device or pipe. Never reads, or gunzips, more than one byte past the elements
    that the header announces.
    """
    name = os.fspath(path)
    if not stat.S_ISREG(os.stat(path).st_mode):  # a pipe would be waited for, and can be read once only
        raise ValueError(f"{name}: expected an IDX file, got a folder, device or pipe")
    with open(path, "rb") as stream:
        *_, start, size = parse_header(read_bytes(stream, name, LONGEST_HEADER), name)
        return parse_idx(read_bytes(stream, name, start + size + 1), name)


def parse_header(raw: bytearray, name: str) -> tuple[np.dtype, tuple[int, ...], int, int]:
    """Return the elements' dtype, their shape, where they begin, and how many bytes they take."""
    if len(raw) < 4 or raw[:2] != b"\0\0" or raw[2] not in DTYPES:
        magic = "the magic number of an IDX file (00 00, a dtype code, the number of dimensions)"
        raise ValueError(f"{name}: expected {magic}, got {raw[:4].hex(' ') or 'nothing'}")
    dtype, ndim = np.dtype(DTYPES[raw[2]]), raw[3]
    start = 4 + 4 * ndim
    if len(raw) < start:
        raise ValueError(f"{name}: expected {ndim} dimensions in the header, but the file ends within them")
    shape = tuple(int.from_bytes(raw[i : i + 4], "big") for i in range(4, start, 4))
    return dtype, shape, start, math.prod(shape) * dtype.itemsize


def parse_idx(raw: bytearray, name: str) -> np.ndarray:
    """Parse all bytes of an IDX file, gunzipped. Raises ValueError as `read_idx` does."""
    dtype, shape, start, expected = parse_header(raw, name)
    came = len(raw) - start
    if came != expected:
        came_text, fault = (f"{came:,}", "is truncated") if came < expected else ("more", "has trailing bytes")
        raise ValueError(f"{name}: expected {expected:,} bytes for shape {shape}, got {came_text}: the file {fault}")
    try:
        return np.frombuffer(raw, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="))
    except ValueError as problem:  # more dimensions, or longer ones, than numpy has
        raise ValueError(f"{name}: {problem}") from problem


def read_bytes(stream: IO[bytes], name: str, most: int) -> bytearray:
    """Read the stream from its start, gunzipped if it is gzip: `most` bytes, or all if it has fewer.

    Expands no more than that. Raises ValueError for gzip that is corrupt or truncated.
    """
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
