"""IDX files, whole and damaged."""

import gzip
import io
import os
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from tiny_mnist import CODES, idx

from vector.data import download
from vector.data.download import File
from vector.datasets import read_idx


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
        (gzip.compress(idx(np.arange(999)), mtime=0)[:-20], "truncated gzip"),
        (gzip.compress(idx(np.arange(999)), mtime=0)[:-8] + bytes(8), "corrupt gzip: CRC"),
        (gzip.compress(idx(np.arange(999)), mtime=0)[:10] + b"\xff" * 99, "corrupt gzip"),
        (gzip.compress(idx(np.arange(999)), mtime=0) + b"more", "corrupt gzip"),
    ],
)
def test_read_idx_says_what_is_wrong_with_which_file(tmp_path, content, message):
    path = tmp_path / "some-images"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"some-images: .*{message}"):
        read_idx(path)


@pytest.mark.skipif(os.name == "nt", reason="no pipes and devices there")
def test_nothing_is_read_but_files(tmp_path):
    """A pipe would be waited for, and a device may never end."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    for path in (tmp_path / "pipe", tmp_path / "link", tmp_path, "/dev/zero"):
        with pytest.raises(ValueError, match=f"{path}: expected an IDX file, got a folder, device or pipe"):
            read_idx(path)
    with pytest.raises(FileNotFoundError):
        read_idx(tmp_path / "nothing")


def test_gunzip_never_expands_past_its_limit():
    bomb = gzip.compress(bytes(100_000_000))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="expected 1,000 bytes after gunzip, but more came"):
            download.read_raw(io.BytesIO(bomb), "bomb", File("bomb", 1000, ""))
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
