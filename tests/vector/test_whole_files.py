"""Where whole files go: through links, with the permissions of what they replace, past what somebody has planted."""

import contextlib
import os
import secrets
import stat
import threading
from pathlib import Path

import pytest
from checkpoints import NEW, OLD, equal

from vector import files
from vector.checkpoint import load, save

pytestmark = pytest.mark.skipif(os.name == "nt", reason="permissions and links differ")


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@contextlib.contextmanager
def umask(mask):
    before = os.umask(mask)
    yield
    os.umask(before)


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_a_new_file_has_the_permissions_that_open_gives(mask, tmp_path):
    with umask(mask):
        files.write(tmp_path / "a", b"x")
        (tmp_path / "b").write_bytes(b"x")
    assert mode(tmp_path / "a") == mode(tmp_path / "b") == 0o666 & ~mask


@pytest.mark.parametrize("permissions", [0o600, 0o640, 0o664, 0o444, 0o400, 0o777])
def test_a_checkpoint_keeps_its_permissions(permissions, tmp_path):
    path = tmp_path / "a.npz"
    save(path, OLD)
    path.chmod(permissions)
    save(path, NEW)
    assert mode(path) == permissions
    assert equal(load(path), NEW)


def test_nobody_else_reads_a_private_file_while_it_is_written(tmp_path, monkeypatch):
    path, seen, write = tmp_path / "a", [], os.write
    path.touch(0o600)
    monkeypatch.setattr(
        os,
        "write",
        lambda descriptor, part: seen.append(os.fstat(descriptor).st_mode & 0o77) or write(descriptor, part),
    )
    with umask(0):
        files.write(path, b"secret")
    assert seen == [0]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may give files away")
def test_root_leaves_a_file_its_owner(tmp_path):
    path = tmp_path / "a"
    path.touch(0o600)
    os.chown(path, 1234, 1235)
    files.write(path, b"x")
    assert (path.stat().st_uid, path.stat().st_gid, mode(path)) == (1234, 1235, 0o600)


def test_links_are_followed_and_stay(tmp_path):
    """Relative ones, links to links, and those whose file is yet to come."""
    (tmp_path / "far").mkdir()
    (tmp_path / "near").symlink_to("link")
    (tmp_path / "link").symlink_to("far/a.npz")
    for state in (OLD, NEW):
        save(tmp_path / "near", state)
        assert (tmp_path / "near").is_symlink() and (tmp_path / "link").is_symlink()
        assert equal(load(tmp_path / "far/a.npz"), state)
    assert os.listdir(tmp_path / "far") == ["a.npz"]


def test_a_planted_link_is_not_followed(tmp_path, monkeypatch):
    """Whoever may write into the folder plants links under every name that can be foreseen, and even the next one."""
    target = tmp_path / "target"
    target.write_text("precious")
    for name in (f"a.npz.{os.getpid()}-{threading.get_native_id()}.tmp", "a.npz.tmp", "a.npz.next.tmp"):
        (tmp_path / name).symlink_to(target)
    save(tmp_path / "a.npz", NEW)
    assert target.read_text() == "precious"
    monkeypatch.setattr(secrets, "token_hex", lambda n: "next")
    with pytest.raises(FileExistsError) as caught:
        save(tmp_path / "a.npz", OLD)
    assert caught.value.filename == str(tmp_path / "a.npz")
    assert target.read_text() == "precious" and equal(load(tmp_path / "a.npz"), NEW)


def test_a_folder_a_pipe_a_device_or_a_circle_of_links_stays(tmp_path):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "null").symlink_to("/dev/null")
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "to pipe").symlink_to("pipe")
    before = {path.name: path.lstat().st_mode for path in tmp_path.iterdir()}
    for name in before:
        with pytest.raises(OSError, match=r"expected a file, got a folder, device or pipe|symbolic links") as caught:
            save(tmp_path / name, NEW)
        assert caught.value.filename == str(tmp_path / name)
    assert {path.name: path.lstat().st_mode for path in tmp_path.iterdir()} == before
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


@pytest.mark.parametrize("name", ["n" * 255, "ä" * 127])
def test_a_name_as_long_as_may_be(name, tmp_path):
    save(tmp_path / name, NEW)
    assert os.listdir(tmp_path) == [name]


def test_a_name_without_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for fresh in (False, True):
        files.write("a", b"x", fresh)
    assert os.listdir() == ["a"]


def test_a_fresh_file_replaces_a_link_and_its_permissions(tmp_path):
    (tmp_path / "far").write_text("precious")
    (tmp_path / "link").symlink_to("far")
    (tmp_path / "private").touch(0o600)
    with umask(0o022):
        for name in ("link", "private"):
            files.write(tmp_path / name, b"x", fresh=True)
            assert not (tmp_path / name).is_symlink() and mode(tmp_path / name) == 0o644
    assert (tmp_path / "far").read_text() == "precious"
