"""predict.py: files of every kind as the model wants them, and what it prints."""

import importlib
import os
import re
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from example_runs import EXAMPLES, PREDICT, TRAIN, command, environment, importing, run
from fuzz import png

from vector.datasets import CLASS_NAMES, fashion_mnist_sample

Reader = Callable[..., np.ndarray]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    run(folder, *command(TRAIN, "--data", "sample", "--epochs", 1, "--out", "here"))
    return folder / "here/model.npz"


def test_predicting_a_test_image_and_the_same_image_as_png(model: Path, tmp_path: Path) -> None:
    """The file may be as it is, dark on light, or in colour with opacity: the answer is the same."""
    data = fashion_mnist_sample()
    image = data.test_images[5]
    write_png(tmp_path / "same.png", image)
    write_png(tmp_path / "dark.png", 255 - image)
    write_png(tmp_path / "clear.png", np.dstack([np.zeros_like(image)] * 3 + [image]))
    names = ["same.png", "dark.png", "clear.png"]
    printed = run(tmp_path, *command(PREDICT, model, 5, *names, "--data", "sample")).stdout
    titles, pictures, tables = zip(*map(parts, re.split(r"^(?=\S)", printed, flags=re.MULTILINE)[1:]), strict=True)
    assert titles == (f"test image 5, {CLASS_NAMES[data.test_labels[5]]}", *names)
    assert len(set(tables)) == len(set(pictures)) == 1
    shares = [float(x) for x in re.findall(r"([\d.]+)%", tables[0])]
    assert len(shares) == 10 and shares == sorted(shares, reverse=True) and abs(sum(shares) - 100) < 1
    seen = np.array([[" ░▒▓█".index(x) for x in line] for line in pictures[0].splitlines()]) / 4
    pairs = image.reshape(14, 2, 28).mean(1) / 255
    assert np.abs(seen - pairs).max() <= 0.126


def parts(answer: str) -> tuple[str, str, str]:
    """The title, the picture of 14 x 28 characters and the table beside it."""
    title, *lines = answer.splitlines()
    wide = [f"{line:<30}" for line in lines]
    return title, "\n".join(line[2:30] for line in wide), "\n".join(line[32:] for line in wide)


def test_what_the_model_sees_is_written(model: Path, tmp_path: Path) -> None:
    from_file = pytest.importorskip("PIL.Image").open
    data = fashion_mnist_sample()
    write_png(tmp_path / "b.png", data.test_images[6])
    run(tmp_path, *command(PREDICT, model, 5, "b.png", "--data", "sample", "--show", "seen.png"))
    seen = np.asarray(from_file(tmp_path / "seen.png"))[4::8, 4::8]
    assert seen.shape == (30, 60)
    np.testing.assert_array_equal(seen[1:29, 1:29], data.test_images[5])
    np.testing.assert_array_equal(seen[1:29, 31:59], data.test_images[6])


@pytest.fixture
def read_image() -> Iterator[Reader]:
    with importing(EXAMPLES / "fashion_mnist"):
        yield importlib.import_module("predict").read_image


def test_every_kind_of_grey_is_the_same_grey(tmp_path: Path, read_image: Reader) -> None:
    """Of 1, 2, 4, 8 and 16 bits; a palette; with a transparent colour: white counts as 1 and black as 0."""
    stripes = np.arange(28) % 2
    palette = (b"PLTE", bytes(3) + b"\xff" * 3)
    greys = [(1, 0), (2, 0), (4, 0), (8, 0), (16, 0), (8, 3, palette)]
    greys += [(bits, 0, (b"tRNS", struct.pack(">H", 2**bits - 1))) for bits in (1, 2, 4, 8, 16)]  # white
    for bits, colour, *more in greys:
        value = 1 if colour == 3 else 2**bits - 1
        row = np.packbits([int(bit) for x in stripes for bit in f"{value * x:0{bits}b}"]).tobytes()
        path = tmp_path / f"{bits}-{colour}-{len(more)}.png"
        path.write_bytes(png(28, 28, bits, colour, *more, rows=(b"\0" + row) * 28))
        np.testing.assert_array_equal(read_image(path, False), np.tile(stripes, (28, 1)), str(path))
    ramp = (np.arange(28) * 77).astype(">u2")
    (tmp_path / "dark.png").write_bytes(png(28, 28, 16, 0, rows=(b"\0" + ramp.tobytes()) * 28))
    np.testing.assert_array_equal(read_image(tmp_path / "dark.png", False)[5], (ramp / 65535).astype(np.float32))


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_a_transparent_grey_counts_as_white(bits: int, tmp_path: Path, read_image: Reader) -> None:
    """And no other grey does."""
    stripes, most, path = np.arange(28) % 2, 2**bits - 1, tmp_path / "clear.png"
    for clear, other in ((0, 1), (most - 1, most), (most // 2, 0) if bits > 1 else (1, 0)):
        greys = np.where(stripes, other, clear)
        row = np.packbits([int(bit) for x in greys for bit in f"{x:0{bits}b}"]).tobytes()
        path.write_bytes(png(28, 28, bits, 0, (b"tRNS", struct.pack(">H", clear)), rows=(b"\0" + row) * 28))
        expected = np.where(stripes, np.float32(other / most), np.float32(1))
        np.testing.assert_allclose(read_image(path, False), np.tile(expected, (28, 1)), rtol=1e-6)


def test_a_transparent_colour_counts_as_white(tmp_path: Path, read_image: Reader) -> None:
    """Of 8 bits a channel. Of 16 bits Pillow keeps 8, which may be those of another colour, too: refused."""
    red, green = np.array([255, 0, 0]), np.array([0, 255, 0])
    pixels = np.where((np.arange(28) % 2)[:, None], red, green)
    path = tmp_path / "clear.png"
    path.write_bytes(
        png(28, 28, 8, 2, (b"tRNS", struct.pack(">3H", *red)), rows=(b"\0" + pixels.astype(np.uint8).tobytes()) * 28)
    )
    expected = np.where(np.arange(28) % 2, 1.0, 0.587).astype(np.float32)
    np.testing.assert_allclose(read_image(path, False), np.tile(expected, (28, 1)), rtol=1e-6)
    rows = (b"\0" + (257 * pixels).astype(">u2").tobytes()) * 28
    path.write_bytes(png(28, 28, 16, 2, rows=rows))
    expected = np.where(np.arange(28) % 2, 0.299, 0.587).astype(np.float32)
    np.testing.assert_allclose(read_image(path, False), np.tile(expected, (28, 1)), rtol=1e-6)
    path.write_bytes(png(28, 28, 16, 2, (b"tRNS", struct.pack(">3H", 65535, 0, 0)), rows=rows))
    with pytest.raises(ValueError, match=r"clear\.png: .*colours of 16 bits, one of them transparent"):
        read_image(path, False)


def letter(height: int) -> np.ndarray:
    """An F, which looks different from each side."""
    image = np.zeros((height, 28), np.uint8)
    image[2:, 4:8] = image[2:4, 4:20] = image[6:8, 4:14] = 200
    return image


STORED: dict[int, Callable[[np.ndarray], np.ndarray]] = {  # EXIF says which sides the first row and column show
    1: lambda up: up,  # top, left
    2: lambda up: up[:, ::-1],  # top, right
    3: lambda up: up[::-1, ::-1],  # bottom, right
    4: lambda up: up[::-1],  # bottom, left
    5: lambda up: up.T,  # left, top
    6: lambda up: up[:, ::-1].T,  # right, top
    7: lambda up: up[::-1, ::-1].T,  # right, bottom
    8: lambda up: up[::-1].T,  # left, bottom
    9: lambda up: up,  # nothing
}


def exif(orientation: int) -> bytes:
    return struct.pack("<2sHIHHHIHHI", b"II", 42, 8, 1, 0x0112, 3, 1, orientation, 0, 0)


@pytest.mark.parametrize("height", [28, 12])
@pytest.mark.parametrize("orientation", STORED)
def test_an_image_is_turned_upright(orientation: int, height: int, tmp_path: Path, read_image: Reader) -> None:
    upright, stored = letter(height), np.ascontiguousarray(STORED[orientation](letter(height)))
    write_png(tmp_path / "upright.png", upright)
    expected = read_image(tmp_path / "upright.png")
    write_png(tmp_path / "stored.png", stored, (b"eXIf", exif(orientation)))
    np.testing.assert_allclose(read_image(tmp_path / "stored.png"), expected, atol=1e-6)
    image = pytest.importorskip("PIL.Image").fromarray(stored)
    image.save(tmp_path / "stored.jpg", quality=100, exif=b"Exif\0\0" + exif(orientation))
    np.testing.assert_allclose(read_image(tmp_path / "stored.jpg"), expected, atol=0.02)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_is_read_like_a_png(mode: str, progressive: bool, tmp_path: Path, read_image: Reader) -> None:
    write_png(tmp_path / "a.png", letter(28))
    image = pytest.importorskip("PIL.Image").fromarray(letter(28)).convert(mode)
    image.save(tmp_path / "a.jpg", quality=100, progressive=progressive)
    np.testing.assert_allclose(read_image(tmp_path / "a.jpg"), read_image(tmp_path / "a.png"), atol=0.02)
    content = (tmp_path / "a.jpg").read_bytes()
    for n in (2, 20, len(content) // 2):
        (tmp_path / "cut.jpg").write_bytes(content[:n])
        with pytest.raises(ValueError, match=r"cut\.jpg: expected a PNG or JPEG file"):
            read_image(tmp_path / "cut.jpg")


@pytest.mark.parametrize("form", ["GIF", "BMP", "TIFF", "WEBP", "PPM"])
def test_other_formats_are_refused(form: str, tmp_path: Path, read_image: Reader) -> None:
    path = tmp_path / "a.png"
    pytest.importorskip("PIL.Image").fromarray(letter(28)).save(path, form)
    with pytest.raises(ValueError, match=r"a\.png: expected a PNG or JPEG file"):
        read_image(path)


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "cp437", "utf-8"])
def test_what_an_encoding_lacks_stops_no_output(encoding: str, model: Path, tmp_path: Path) -> None:
    """The bars are of another character; a file's name is escaped."""
    write_png(tmp_path / "Σ.png", letter(28))
    given = environment() | {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    done = subprocess.run(command(PREDICT, model, "Σ.png"), cwd=tmp_path, env=given, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    lines = done.stdout.decode(encoding).splitlines()
    assert lines[0] == ("Σ.png" if encoding in ("cp437", "utf-8") else r"\u03a3.png")
    assert lines[1].endswith("█" if encoding in ("cp437", "utf-8") else "#") and len(lines) == 15


def test_output_that_nobody_reads_is_no_error(model: Path, tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    words = command(PREDICT, model, 0, "--data", "sample")
    done = subprocess.run(words, cwd=tmp_path, env=environment(), stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (done.stderr, done.returncode) == ("", 0)


# --- photographs ------------------------------------------------------------------------------------------------------


def test_an_object_is_trimmed_and_put_in_the_middle_of_a_square(tmp_path: Path, read_image: Reader) -> None:
    """On a ground of any grey, which becomes 0; the object keeps its proportions."""
    ramp = np.linspace(0.3, 1.0, 84).repeat(4).reshape(84, 4).T.repeat(10, 0)  # (40, 84), lighter to the right
    for ground, darker in ((255, True), (160, True), (90, True), (160, False), (90, False), (0, False)):
        grey = np.full((150, 200), float(ground))
        grey[20:60, 100:184] += (-ground if darker else 255 - ground) * ramp
        write_png(tmp_path / "wide.png", np.uint8(np.round(grey)))
        seen = read_image(tmp_path / "wide.png")
        assert not seen[:7].any() and not seen[21:].any()
        np.testing.assert_allclose(seen[8:20], np.tile(ramp[0].reshape(28, 3).mean(1), (12, 1)), atol=0.02)


def test_an_object_lighter_and_darker_than_its_ground_keeps_its_greys(tmp_path: Path, read_image: Reader) -> None:
    """What is enclosed is its own, even where it is like the ground."""
    grey = np.full((112, 112), 200)
    grey[28:84, 28:84] = np.tile([0, 100, 200, 255], (56, 1)).repeat(14, 1)
    grey[28:32, 28:84] = grey[80:84, 28:84] = 0
    write_png(tmp_path / "both.png", np.uint8(grey))
    expected = 1 - np.array([0, 100, 200, 255]).repeat(7) / 255
    np.testing.assert_allclose(read_image(tmp_path / "both.png")[14], expected, atol=0.01)
    np.testing.assert_allclose(read_image(tmp_path / "both.png", False)[14], 1 - expected, atol=0.01)


def test_uneven_light_noise_and_specks_are_no_object(tmp_path: Path, read_image: Reader) -> None:
    rng = np.random.default_rng(0)
    grey = np.full((300, 300), 180.0)
    grey[100:200, 60:240] *= 0.3
    grey *= np.linspace(0.8, 1.1, 300)[:, None]
    grey += rng.normal(0, 5, grey.shape)
    grey[rng.integers(0, 300, 10), rng.integers(0, 300, 10)] = 0
    write_png(tmp_path / "noisy.png", np.uint8(np.clip(grey, 0, 255)))
    seen = read_image(tmp_path / "noisy.png")
    np.testing.assert_allclose(seen[8:20], 0.7, atol=0.07)
    assert seen[:5].max() < 0.05 and seen[23:].max() < 0.05


def test_a_picture_of_nothing_is_black(tmp_path: Path, read_image: Reader) -> None:
    for grey in (0, 77, 160, 255):
        write_png(tmp_path / "empty.png", np.full((60, 40), grey, np.uint8))
        assert not read_image(tmp_path / "empty.png").any()


def test_a_large_file_is_read_in_strips(tmp_path: Path, read_image: Reader) -> None:
    """With the result that the same file of a quarter of the size has."""
    image = fashion_mnist_sample().test_images[5]
    for name, times in (("large.png", 80), ("small.png", 20)):
        write_png(tmp_path / name, np.pad(image, 7).repeat(times, 0).repeat(times, 1))
    large, small = read_image(tmp_path / "large.png"), read_image(tmp_path / "small.png")
    np.testing.assert_allclose(large, small, atol=0.05)


def test_photographs_of_test_images_are_told_as_well_as_the_images(tmp_path: Path) -> None:
    run(tmp_path, *command(TRAIN, "--data", "sample", "--epochs", 5, "--out", "here"))
    words = ["here/model.npz", "--data", "sample", "--images", 8]
    printed = run(tmp_path, *command("fashion_mnist/judge_photographs.py", *words)).stdout
    losses = [float(x) for x in re.findall(r"  ([+-]\d\.\d{4})$", printed, re.MULTILINE)]
    assert len(losses) == 20 and min(losses) >= -0.125  # one image of 8
    assert printed.splitlines()[-1] == f"largest loss: {-min(*losses, 0.0):.4f}"


WRONG_INPUTS = {
    "no model": (["nothing.npz", "0"], "nothing.npz"),
    "no model but text": (["text.png", "0"], "text.png: expected a model saved as .npz"),
    "another model": (["other.npz", "0"], "load_state_dict: expected the names"),
    "no image": (["{model}", "nothing.png"], "nothing.png: expected an image file or the number of a test image"),
    "no image but text": (
        ["{model}", "text.png"],
        "text.png: expected a PNG or JPEG file of up to 25,000,000 pixels, 16,384 a side, got",
    ),
    "too large an image": (["{model}", "wide.png"], "got something else (16,385 x 1)"),
    "number too large": (["{model}", "200"], "test image 200: expected a number from 0 to 199"),
    "number below 0": (["{model}", "--", "-1"], "test image -1: expected a number from 0 to 199"),
}


@pytest.mark.parametrize("wrong", WRONG_INPUTS)
def test_wrong_inputs_are_named(wrong: str, model: Path, tmp_path: Path) -> None:
    arguments, said = WRONG_INPUTS[wrong]
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "wide.png").write_bytes(png(16_385, 1, 1, 0))
    np.savez(tmp_path / "other.npz", weight=np.zeros(3))
    arguments = [argument.format(model=model) for argument in arguments]
    done = run(tmp_path, *command(PREDICT, "--data", "sample", *arguments), code=1)
    assert done.stderr.startswith("predict.py: ") and said in done.stderr


def write_png(path: Path, pixels: np.ndarray, *more: tuple[bytes, bytes]) -> None:
    """Grey (height, width) or colour with opacity (height, width, 4), uint8; and more chunks."""
    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    path.write_bytes(png(width, height, 8, 0 if pixels.ndim == 2 else 6, *more, rows=rows))
