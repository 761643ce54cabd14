"""A checkpoint file is whole or refused, and so is a model file."""

import io
import os
import zipfile

import numpy as np
import pytest
from checkpoints import STATE, bits, digest, equal, refused, regions, seal, small_model
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from recorded import same

from vector.checkpoint import CheckpointError, load, save
from vector.training import checkpoint

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


# --- damage -----------------------------------------------------------------------------------------------------------


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


# --- model files ------------------------------------------------------------------------------------------------------


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
