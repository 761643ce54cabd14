"""Files made on purpose whose seal is right: refused, with no more memory than they are long."""

import io
import struct
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest
from checkpoints import STATE, digest, refused, regions, seal
from hypothesis import given
from hypothesis import strategies as st

from vector.checkpoint import CheckpointError, load
from vector.training import checkpoint


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
