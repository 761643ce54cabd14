"""Files and texts that nobody would write: a reader of fuzz.py returns, or raises the error that it documents."""

import subprocess
import sys
from pathlib import Path

import fuzz
import pytest
from fuzz import CORPUS, MOST_MEMORY, READERS, Reader, try_input
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("resource", reason="the memory of a process is not known here")


def inputs(reader: Reader) -> st.SearchStrategy[bytes]:
    """Bytes; words of the format in any order; and a seed that was changed in one of its layers."""
    words = st.sampled_from(reader.words)
    pieces = st.one_of(st.binary(max_size=8), words)

    def changed(layer: fuzz.Layer) -> st.SearchStrategy[bytes]:
        part, whole = layer
        places = st.integers(0, len(part))
        return st.lists(st.tuples(places, st.integers(0, 8), pieces), min_size=1, max_size=4).map(
            lambda changes: whole(edited(part, changes))
        )

    seeds = st.sampled_from(reader.seeds())
    return st.one_of(
        st.binary(max_size=300),
        st.lists(words, max_size=30).map(b" ".join),
        seeds.flatmap(lambda seed: st.sampled_from(reader.layers(seed)).flatmap(changed)),
    )


def edited(part: bytes, changes: list[tuple[int, int, bytes]]) -> bytes:
    for place, length, piece in changes:
        part = part[:place] + piece + part[place + length :]
    return part


@pytest.mark.parametrize("name", READERS)
@given(data=st.data())
def test_any_input_is_read_or_refused(name: str, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.getbasetemp() / f"input-{name}"
    try_input(READERS[name], data.draw(inputs(READERS[name])), path)


@pytest.mark.parametrize("name", READERS)
def test_what_was_found_stays_mended(name: str) -> None:
    """In a process of its own, whose memory is its own, and which is given up where it hangs."""
    command = [sys.executable, fuzz.__file__, name, "--replay"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{name}: ")
    assert int(done.stdout.split()[1]) == len(READERS[name].seeds()) + len(list((CORPUS / name).iterdir()))


@pytest.mark.parametrize("name", READERS)
def test_seeds_are_read_and_layers_put_together_again(name: str, tmp_path: Path) -> None:
    """A search whose every change breaks a checksum would find little."""
    for seed in READERS[name].seeds():
        for part, whole in READERS[name].layers(seed):
            try_input(READERS[name], whole(part), tmp_path / "input")
            again = [layer[0] for layer in READERS[name].layers(whole(part))]
            assert part in again


def raises(path: Path) -> None:
    path.read_text()[1]


def test_a_find_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(IndexError):
        try_input(READERS["idx"]._replace(read=raises), b"?", tmp_path / "input")
    most = iter([50.0, 51.0 + MOST_MEMORY])
    monkeypatch.setattr(fuzz, "megabytes", lambda: next(most))
    with pytest.raises(AssertionError, match="expected at most 200 MB for 1 bytes, got 201 MB"):
        try_input(READERS["idx"]._replace(read=lambda path: None), b"?", tmp_path / "input")
