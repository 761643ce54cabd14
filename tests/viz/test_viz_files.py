"""Written files: whole, through links, with the permissions of what they replace."""

import os
import stat
from pathlib import Path

import pytest

from viz import files
from viz.__main__ import main

pytestmark = pytest.mark.skipif(os.name == "nt", reason="permissions and links differ")


def test_text_and_bytes(tmp_path: Path) -> None:
    assert files.write(tmp_path / "a", "∂\n") == tmp_path / "a"
    assert (tmp_path / "a").read_bytes() == b"\xe2\x88\x82\n"
    files.write(tmp_path / "a", b"\r\n")
    assert (tmp_path / "a").read_bytes() == b"\r\n"
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("permissions", [0o600, 0o664, 0o444])
def test_a_file_keeps_its_permissions(permissions: int, tmp_path: Path) -> None:
    path = tmp_path / "graph.dot"
    path.touch()
    path.chmod(permissions)
    assert main(["a*b", "a=1", "b=2", "-o", str(path)]) == 0
    assert stat.S_IMODE(path.stat().st_mode) == permissions and path.read_text().startswith("digraph")


@pytest.mark.parametrize("suffix", ["dot", "svg", "html", "tex"])
def test_a_link_stays_a_link(suffix: str, tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    link = tmp_path / f"graph.{suffix}"
    link.symlink_to(f"far/there.{suffix}")
    for _ in range(2):
        assert main(["a*b", "a=1", "b=2", "-o", str(link)]) == 0
        assert link.is_symlink() and os.listdir(tmp_path / "far") == [f"there.{suffix}"]


def test_what_is_no_file_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "folder.dot").mkdir()
    os.mkfifo(tmp_path / "pipe.dot")
    (tmp_path / "null.dot").symlink_to("/dev/null")
    (tmp_path / "circle.dot").symlink_to("circle.dot")
    before = {path: path.lstat().st_mode for path in tmp_path.iterdir()}
    for path in before:
        assert main(["a*b", "a=1", "b=2", "-o", str(path)]) == 2
        error = capsys.readouterr().err
        assert error.startswith(f"viz: cannot write {path}: ") and "Traceback" not in error
    assert {path: path.lstat().st_mode for path in tmp_path.iterdir()} == before
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_a_name_as_long_as_may_be(tmp_path: Path) -> None:
    path = tmp_path / ("ä" * 127)
    assert files.write(path, "x").read_text() == "x"
