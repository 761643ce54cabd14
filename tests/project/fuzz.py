"""The readers of files and texts from elsewhere, given what nobody would write.

    python tests/project/fuzz.py idx --runs 350000   changes inputs by their effect ('twograd[fuzz]')
    python tests/project/fuzz.py idx --replay        reads tests/project/corpus/idx once more

A reader may return or raise the error that it documents; anything else is a find, and so are 200 MB of memory, or a
minute, for one input. A find is written to tests/project/corpus/READER, to stay there: the ordinary tests replay
that folder (test_fuzz.py, where hypothesis gives the same readers the same kinds of input).

To add a reader, write the function that gives it the file at `path` and lets only a find through; name it in READERS.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import hashlib
import io
import os
import random
import re
import struct
import subprocess
import sys
import tempfile
import warnings
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
CORPUS = Path(__file__).resolve().parent / "corpus"
MOST_MEMORY = 200  # MB that one input may take
MOST_SECONDS = 60  # by the clock on the wall: a busy machine lets a process wait

Layer = tuple[bytes, Callable[[bytes], bytes]]  # a part of a file, and how the file is put together around another


class Reader(NamedTuple):
    """What is tried: `read(path)`, from these seeds, by changes in these layers and with these words."""

    read: Callable[[Path], None]
    seeds: Callable[[], list[bytes]]
    layers: Callable[[bytes], list[Layer]]
    words: Sequence[bytes]
    modules: Sequence[str]  # whose branches guide the search
    longest: int = 8192  # bytes that the search makes an input of


# IDX ----------------------------------------------------------------------------------------------------------------


def read_idx(path: Path) -> None:
    from vector.datasets import read_idx

    try:
        array = read_idx(path)
    except ValueError as error:
        assert str(error).startswith(f"{path}: "), error
    else:
        assert array.dtype.isnative and array.flags.writeable


def idx_seeds() -> list[bytes]:
    head = [bytes([0, 0, code, 1, 0, 0, 0, 2]) for code in (8, 9, 11, 12, 13, 14)]
    files = [start + bytes(16)[: 2 * size] for start, size in zip(head, (1, 1, 2, 4, 4, 8), strict=True)]
    files += [bytes([0, 0, 8, 3]) + struct.pack(">3I", 2, 3, 4) + bytes(range(24)), bytes([0, 0, 8, 0, 7])]
    return files + [gzipped(file) for file in files]


def gzipped(data: bytes) -> bytes:
    squeeze = zlib.compressobj(1, wbits=31)
    return squeeze.compress(data) + squeeze.flush()


def gzip_layers(data: bytes) -> list[Layer]:
    try:
        inner = zlib.decompressobj(31).decompress(data, 1 << 16)
    except zlib.error:
        return [(data, bytes)]
    return [(data, bytes), (inner, gzipped)]


# Checkpoints --------------------------------------------------------------------------------------------------------


def read_checkpoint(path: Path) -> None:
    from vector.checkpoint import load

    try:
        state = load(path)
    except ValueError as error:
        assert str(error).startswith(f"{path}: "), error
    else:
        assert isinstance(state, dict)


def checkpoint_seeds() -> list[bytes]:
    from vector.training.checkpoint import pack

    arrays = {code: np.zeros((2, 3), code) for code in ("f4", "f8", "u1", ">i8", "?", "c8")}
    states = [
        {},
        {"step": 3, "rates": [0.5, None, True], "who": "é"},
        arrays,
        {"a": {"b": np.float64(3), "c": {"d": 1}}},
    ]
    return [pack(state) for state in (*states, {"a": np.asfortranarray(np.ones((2, 3))), "empty": np.zeros(0)})]


def sealed(data: bytes) -> bytes:
    """With a digest at its end that is right."""
    return data[:-64] + hashlib.sha256(data[:-64]).hexdigest().encode()


def checkpoint_layers(data: bytes) -> list[Layer]:
    """The file; all before its seal; and the bytes of each member, for which the zip and the seal are made anew."""
    import zipfile

    layers: list[Layer] = [(data, bytes), (data, sealed)]
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {member.filename: archive.read(member) for member in archive.infolist()}
            comment = archive.comment
    except Exception:
        return layers
    return layers + [(part, functools.partial(zipped, members, comment, name)) for name, part in members.items()]


def zipped(members: Mapping[str, bytes], comment: bytes, name: str, part: bytes) -> bytes:
    import zipfile

    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for other, content in members.items():
            archive.writestr(zipfile.ZipInfo(other), part if other == name else content)
        archive.comment = comment
    return sealed(file.getvalue())


# PNG ----------------------------------------------------------------------------------------------------------------

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def read_image(path: Path) -> None:
    if str(ROOT / "examples" / "fashion_mnist") not in sys.path:
        sys.path.insert(0, str(ROOT / "examples" / "fashion_mnist"))
    import predict

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, for what it puts right
            image = predict.read_image(str(path))
    except ValueError as error:
        assert str(error).startswith(f"{path}: "), error
    else:
        assert image.shape == (28, 28) and image.dtype == np.float32
        assert np.all((image >= 0) & (image <= 1)), image  # and none is NaN


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(
    width: int, height: int, bits: int, colour: int, *more: tuple[bytes, bytes], lace: int = 0, rows: bytes = b""
) -> bytes:
    """A PNG of these rows, or of zeros, with more chunks before them.

    Colour 0 is grey, 2 RGB, 3 palette, 4 and 6 with opacity; each row is a byte 0 and its pixels.
    """
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, lace)
    rows = rows or (b"\0" + bytes((width * channels * bits + 7) // 8)) * height
    parts = [(b"IHDR", header), *more, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return SIGNATURE + b"".join(chunk(*part) for part in parts)


EXIF = struct.pack("<2sHIHHHIHHI", b"II", 42, 8, 1, 0x0112, 3, 1, 6, 0, 0)  # to be turned right


def jpeg(mode: str) -> bytes:
    """A JPEG of 5 x 3 pixels."""
    from PIL import Image

    file = io.BytesIO()
    Image.new(mode, (5, 3)).save(file, "JPEG", progressive=mode == "L", exif=b"Exif\0\0" + EXIF)
    return file.getvalue()


def image_seeds() -> list[bytes]:
    palette = (b"PLTE", bytes(range(12)))
    kinds = [(1, 0), (2, 0), (4, 0), (8, 0), (16, 0), (8, 2), (16, 2), (8, 4), (16, 4), (8, 6), (16, 6)]
    files = [png(5, 3, *kind) for kind in kinds] + [png(28, 28, 8, 0), png(5, 3, 8, 6, lace=1)]
    files += [png(5, 3, bits, 3, palette) for bits in (1, 2, 4, 8)]
    files += [png(5, 3, 8, 3, palette, (b"tRNS", b"\0\x80")), png(5, 3, 8, 0, (b"tRNS", b"\0\1"))]
    files += [png(5, 3, *kind, (b"tRNS", bytes(6))) for kind in ((2, 0), (16, 0), (8, 2), (16, 2))]
    files += [png(5, 3, 8, 0, (b"eXIf", EXIF)), *map(jpeg, ("L", "RGB", "CMYK"))]
    return [*files, png(5, 3, 8, 2, (b"gAMA", struct.pack(">I", 45455)), (b"tEXt", b"a\0b"), (b"zTXt", b"a\0\0x"))]


def png_layers(data: bytes) -> list[Layer]:
    """The file; each chunk, under a new checksum; and its pixels, compressed again."""
    layers: list[Layer] = [(data, bytes)]
    place = len(SIGNATURE)
    while place + 12 <= len(data):
        length, kind = struct.unpack(">I4s", data[place : place + 8])
        before, content, after = data[:place], data[place + 8 :][:length], data[place + 12 + length :]
        layers.append((kind + content, lambda new, a=before, z=after: a + chunk(new[:4], new[4:]) + z))
        if kind == b"IDAT":
            try:
                pixels = zlib.decompressobj().decompress(content, 1 << 16)
            except zlib.error:
                pixels = b""
            layers.append((pixels, lambda new, a=before, z=after: a + chunk(b"IDAT", zlib.compress(new, 1)) + z))
        place += 12 + length
    return layers


# Expressions --------------------------------------------------------------------------------------------------------

VALUES = {"a": 0.7, "b": -1.3, "c": 2.0}
EXPRESSIONS = (
    "tanh(a*b + c)", "-a**2/b - +3", "sum([a, b, (c, 1)])", "where(a >= b, a, b)", "leaky_relu(a, slope=0.5)",
    "clip(a, low=-1, high=1e9)", "dot([a, 1], [b, 2])", "9**9**9", "0x_f*1_0j", "a if b else c", "f'{a}'", "a; b",
    "(lambda: a)()", "softmax([a, b])[0]", "not a", "max(a, b, *c, **d)", "1e999", "a < b < c", "True + None", "a:=b",
)  # fmt: skip


def read_expression(path: Path) -> None:
    """All that `python -m viz` does with an expression, but for the pictures."""
    import viz
    from scalar import Value
    from viz.__main__ import FUNCTIONS, table
    from viz.expression import Mistake, parse
    from viz.maths.document import document

    text = path.read_bytes().decode(errors="replace")
    values = {name: value for name, value in VALUES.items() if re.search(rf"\b{name}\b", text)}
    try:
        root = parse(text, values, FUNCTIONS, Value)
    except Mistake as mistake:
        assert str(mistake).startswith("column ") and mistake.picture.endswith("^")
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # an infinite slope
        if root.requires_grad:
            root.backward()
    assert table(root)
    assert all(map(str, viz.steps(root)))
    with contextlib.suppress(ValueError):  # a formula of more than 10,000 characters
        assert document(root)


WORDS = (
    "** // << := -> == != <= >= ... () [] {} , : ; . @ # ' \" \\ ~ ! 0x 1e 1j _ a b c if else for in lambda not True "
    "abs clip cos divide dot exp leaky_relu log logsumexp max maximum mean power relu softmax sqrt sum where low= **a"
).split()


READERS = {
    "idx": Reader(read_idx, idx_seeds, gzip_layers, (b"\x1f\x8b\x08", b"\xff" * 4), ("vector", "gzip", "_compression")),
    "checkpoint": Reader(
        read_checkpoint,
        checkpoint_seeds,
        checkpoint_layers,
        b"PK\1\2 PK\3\4 PK\5\6 PK\6\6 plain.json .npy \x93NUMPY\1\0 twograd sha256 'descr':'<f8' (9,) |O".split(),
        ("vector", "zipfile", "json"),
    ),
    "image": Reader(
        read_image,
        image_seeds,
        png_layers,
        b"IHDR PLTE IDAT IEND tRNS gAMA cHRM sRGB iCCP tEXt zTXt iTXt eXIf acTL fcTL fdAT pHYs Exif Adobe MPF".split(),
        ("predict", "PIL"),
    ),
    "expression": Reader(
        read_expression,
        lambda: [text.encode() for text in EXPRESSIONS],
        lambda data: [(data, bytes)],
        [word.encode() for word in WORDS],
        ("viz", "scalar"),
        longest=100,  # many short ones find more than few long ones
    ),
}


# The harness --------------------------------------------------------------------------------------------------------


def megabytes() -> float:
    """The most memory that this process has had."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def try_input(reader: Reader, data: bytes, path: Path) -> None:
    """Give the reader a file with this content. Any exception is a find."""
    path.write_bytes(data)
    before = megabytes()
    reader.read(path)
    took = megabytes() - before
    assert took <= MOST_MEMORY, f"expected at most {MOST_MEMORY} MB for {len(data):,} bytes, got {took:.0f} MB"


def replay(name: str, path: Path) -> int:
    """Try the seeds and the corpus; how many inputs that were."""
    corpus = [file.read_bytes() for file in sorted((CORPUS / name).iterdir())] if (CORPUS / name).is_dir() else []
    inputs = READERS[name].seeds() + corpus
    for data in inputs:
        try_input(READERS[name], data, path)
    return len(inputs)


def search(name: str, runs: int, folder: Path) -> None:
    """Try that many inputs, those that reach new branches being kept and changed again. Ends the process."""
    import atheris

    reader, path = READERS[name], folder / "input"
    with atheris.instrument_imports(include=list(reader.modules)):
        for data in reader.seeds():  # what reading needs is imported here
            try_input(reader, data, path)

    def mutate(data: bytes, most: int, seed: int) -> bytes:
        part, whole = random.Random(seed).choice(reader.layers(data))
        return whole(atheris.Mutate(part, max(most, len(part) + 1)))[:most]

    for i, data in enumerate(reader.seeds()):
        (folder / "found" / f"seed{i}").write_bytes(data)
    (folder / "words").write_text("".join('"' + "".join(f"\\x{x:02x}" for x in w) + '"\n' for w in reader.words))
    (CORPUS / name).mkdir(parents=True, exist_ok=True)
    options = {
        "runs": runs,
        "max_len": reader.longest,
        "timeout": MOST_SECONDS,
        "rss_limit_mb": 1024,
        "dict": folder / "words",
        "artifact_prefix": f"{CORPUS / name}/",
        "print_final_stats": 1,
    }
    command = [sys.argv[0], *(f"-{key}={value}" for key, value in options.items()), str(folder / "found")]
    atheris.Setup(command, lambda data: try_input(reader, data, path), custom_mutator=mutate)
    atheris.Fuzz()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Give a reader inputs that nobody would write.")
    parser.add_argument("reader", choices=sorted(READERS))
    parser.add_argument("--runs", type=int, default=100_000, help="how many inputs (100,000)")
    parser.add_argument("--replay", action="store_true", help="only the seeds and the corpus")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.folder:
        (given.folder / "found").mkdir()
        search(given.reader, given.runs, given.folder)
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as folder:
        if given.replay:
            print(
                f"{given.reader}: {replay(given.reader, Path(folder) / 'input')} inputs, {megabytes():.0f} MB at most"
            )
            return 0
        again = [sys.executable, __file__, given.reader, f"--runs={given.runs}", f"--folder={folder}"]
        return subprocess.run(again).returncode  # the search ends its process, and leaves the folder to this one


if __name__ == "__main__":
    sys.exit(main())
