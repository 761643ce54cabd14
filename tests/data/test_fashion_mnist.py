"""Fashion-MNIST found on the machine, and its sample."""

import gzip
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny_mnist import contents, fill, idx, is_tiny, tiny_raws

from vector.data import download
from vector.data import fashion_mnist as mnist
from vector.datasets import CLASS_NAMES, fashion_mnist, fashion_mnist_sample, read_idx

# --- finding --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compress", [True, False])
def test_own_folder_by_argument_or_environment(house, monkeypatch, compress):
    own = fill(house / "own", tiny_raws(), compress)
    assert is_tiny(fashion_mnist(own))
    monkeypatch.setenv("FASHION_MNIST", str(own))
    assert is_tiny(fashion_mnist())
    with pytest.raises(
        FileNotFoundError, match=r"elsewhere: expected train-images-idx3-ubyte\.gz, train-images-idx3-ubyte, "
    ):
        fashion_mnist(house / "elsewhere")  # the argument goes before the variable
    assert not (house / "cache").exists()


def test_the_files_under_other_names(house):
    """With a dot before "idx", and each in the first form that is whole."""
    own = house / "own"
    own.mkdir()
    ends = ["", ".gz", "", ".gz"]
    for file, raw, end in zip(mnist.SOURCE.files, tiny_raws(), ends, strict=True):
        (own / f"{file.name.replace('-idx', '.idx')}{end}").write_bytes(gzip.compress(raw) if end else raw)
    assert is_tiny(fashion_mnist(own))


@pytest.mark.parametrize(
    "broken",
    [b"", b"\x1f\x8b\x08", gzip.compress(b"another"), gzip.compress(bytes(10_000)), "unreadable"],
    ids=["empty", "cut", "another", "zeros", "unreadable"],
)
def test_a_broken_file_beside_a_good_one_does_no_harm(house, broken):
    own = fill(house / "own", tiny_raws(), compress=False)
    for file in mnist.SOURCE.files:
        path = own / f"{file.name}.gz"
        if broken == "unreadable":
            path.symlink_to("/proc/self/mem" if Path("/proc/self/mem").exists() else "nowhere")
        else:
            path.write_bytes(broken)
    assert is_tiny(fashion_mnist(own))


def other_raws():
    """Files like the tiny ones in name and size."""
    return [raw[:-1] + bytes([raw[-1] ^ 1]) for raw in tiny_raws()]


@pytest.mark.parametrize("stored", ["gunzipped", "gzipped"])
def test_another_data_set_under_the_same_names_is_named(house, monkeypatch, stored):
    own = fill(house / "own", other_raws())
    first = own / f"{mnist.SOURCE.files[0].name}.gz"
    known = hashlib.sha256(other_raws()[0] if stored == "gunzipped" else first.read_bytes()).hexdigest()
    monkeypatch.setattr(mnist, "SOURCE", mnist.SOURCE._replace(lookalikes={known: "KMNIST"}))
    with pytest.raises(
        ValueError, match=r"expected a file of Fashion-MNIST, got that of KMNIST, .*read_idx\(path\) reads"
    ):
        fashion_mnist(own)
    assert idx(read_idx(first)) == other_raws()[0]


def test_a_data_set_that_nobody_knows_may_be_another_one(house):
    with pytest.raises(ValueError, match=r"files of KMNIST and MNIST have the same names.*read_idx\(path\) reads"):
        fashion_mnist(fill(house / "own", other_raws()))


def test_an_own_folder_is_the_only_place_looked_in(house, monkeypatch):
    fill(house / "cache", tiny_raws())
    (house / "own").mkdir()
    monkeypatch.setenv("FASHION_MNIST", str(house / "own"))
    with pytest.raises(FileNotFoundError, match="own: expected"):
        fashion_mnist()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda raws: raws.__setitem__(0, raws[0][:-1] + b"\7"), "train-images.*expected SHA-256 .* got"),
        (lambda raws: raws.__setitem__(3, b"\0\0\x08\1\0\0\0\3\0\0\0"), "t10k-labels.*expected SHA-256"),
        (lambda raws: raws.__setitem__(1, raws[3]), "as many labels as images.*train-images.*train-labels"),
        (lambda raws: raws.__setitem__(2, raws[0]), r"t10k-images.*expected 2,368 bytes after gunzip"),
    ],
)
def test_a_broken_own_folder_is_named_and_left_alone(house, spoil, message):
    raws = tiny_raws()
    spoil(raws)
    own = fill(house / "own", raws)
    before = contents(own)
    with pytest.raises(ValueError, match=message) as error:
        fashion_mnist(own)
    assert "Nothing was removed" in str(error.value)
    assert contents(own) == before


def test_the_cache_goes_before_the_system_folder(house):
    system = fill(house / "system" / mnist.SOURCE.debian_folder, tiny_raws())
    assert is_tiny(fashion_mnist())
    fill(house / "cache", tiny_raws())
    (system / f"{mnist.SOURCE.files[0].name}.gz").write_bytes(b"broken, and never looked at")
    assert is_tiny(fashion_mnist())


@pytest.mark.parametrize(
    ("platform", "variable", "expected"),
    [
        ("linux", "XDG_CACHE_HOME", "{base}/twograd"),
        ("linux", None, "{home}/.cache/twograd"),
        ("darwin", None, "{home}/Library/Caches/twograd"),
        ("win32", "LOCALAPPDATA", "{base}/twograd"),
    ],
)
def test_the_cache_folder_follows_the_platform(monkeypatch, tmp_path, platform, variable, expected):
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    if variable:
        monkeypatch.setenv(variable, str(tmp_path / "base"))
    wanted = expected.format(base=tmp_path / "base", home=tmp_path / "home")
    assert download.cache_folder() == Path(wanted)


# --- the data ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real():
    """The real data set where it is on this machine; never fetched."""
    own = os.environ.get("FASHION_MNIST")
    for place in [Path(own)] if own else [mnist.SOURCE.cache, download.ROOT / mnist.SOURCE.debian_folder]:
        try:
            return mnist.load(place)
        except FileNotFoundError:
            continue
    pytest.skip("Fashion-MNIST is not on this machine: vector.datasets.fashion_mnist() fetches it")


def test_the_real_data_set(real):
    assert [(a.shape, a.dtype) for a in real] == [
        ((60_000, 28, 28), np.uint8),
        ((60_000,), np.uint8),
        ((10_000, 28, 28), np.uint8),
        ((10_000,), np.uint8),
    ]
    assert np.bincount(real.train_labels).tolist() == [6000] * 10
    assert np.bincount(real.test_labels).tolist() == [1000] * 10
    assert CLASS_NAMES[real.train_labels[0]] == "Ankle boot"


def test_the_sample_is_the_first_hundred_of_each_class(real):
    rank = np.empty(60_000, int)
    for label in range(10):
        rank[real.train_labels == label] = np.arange(6000)
    sample = fashion_mnist_sample()
    for first, last, images, labels in [(0, 80, *sample[:2]), (80, 100, *sample[2:])]:
        rows = np.flatnonzero((first <= rank) & (rank < last))
        np.testing.assert_array_equal(images, real.train_images[rows])
        np.testing.assert_array_equal(labels, real.train_labels[rows])


def test_the_sample_stands_alone():
    sample = fashion_mnist_sample()
    assert [(a.shape, a.dtype) for a in sample] == [
        ((800, 28, 28), np.uint8),
        ((800,), np.uint8),
        ((200, 28, 28), np.uint8),
        ((200,), np.uint8),
    ]
    assert np.bincount(sample.train_labels).tolist() == [80] * len(CLASS_NAMES)
    assert np.bincount(sample.test_labels).tolist() == [20] * len(CLASS_NAMES)
    assert np.any(np.diff(sample.train_labels.astype(int)) < 0)  # not sorted by class
    assert "MIT License" in Path(mnist.__file__).with_name("fashion_mnist_sample.LICENSE").read_text()


def test_importing_stays_light():
    heavy = ("urllib.request", "http.client", "tqdm", "matplotlib", "ssl")
    program = (
        "import sys, numpy; before = set(sys.modules); import vector.datasets; "
        f"print([m for m in {heavy} if m in set(sys.modules) - before])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
