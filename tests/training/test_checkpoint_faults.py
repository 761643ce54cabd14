"""A fault or death at every call of the system while a checkpoint is written: the file is the old or the new one."""

import errno
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from checkpoints import NEW, OLD, Faulty, calls, equal

from vector.checkpoint import load, save


@pytest.mark.parametrize("piece", [None, 100])
def test_the_order_of_the_calls(piece, tmp_path, monkeypatch):
    """The bytes are on the disk before they get the name, and the name before `save` returns."""
    for before in (False, True):
        system = Faulty(monkeypatch, piece=piece)
        save(tmp_path / "a.npz", NEW)
        assert system.calls == calls(before, piece)
        assert equal(load(tmp_path / "a.npz"), NEW)


@pytest.mark.parametrize(
    "fault", [OSError(errno.ENOSPC, "No space left on device"), OSError("odd"), KeyboardInterrupt()]
)
@pytest.mark.parametrize("piece", [None, 100])
@pytest.mark.parametrize("before", [True, False])
def test_a_fault_at_every_call(before, piece, fault, tmp_path, monkeypatch):
    """The file is what it was or the new one, nothing else is left, and the error names the file."""
    path, names = tmp_path / "a.npz", calls(before, piece)

    def fail():
        raise fault

    for at, call in enumerate(names):
        with monkeypatch.context() as patch:
            path.unlink(missing_ok=True)
            if before:
                save(path, OLD)
            Faulty(patch, at, fail, piece)
            if call == "remove" and isinstance(fault, OSError):  # it was renamed: there is nothing to remove
                save(path, NEW)
            else:
                with pytest.raises(type(fault)) as caught:
                    save(path, NEW)
                if isinstance(fault, OSError):
                    assert caught.value.filename == str(path) and caught.value.errno == fault.errno
                    assert (fault.strerror or str(fault)) in str(caught.value)
        renamed = at > names.index("replace")
        assert os.listdir(tmp_path) == (["a.npz"] if before or renamed else [])
        if before or renamed:
            assert equal(load(path), NEW if renamed else OLD)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # that it has threads; the child only writes
@pytest.mark.parametrize("before", [True, False])
def test_death_at_every_call(before, tmp_path, monkeypatch):
    path, names = tmp_path / "a.npz", calls(before, 100)
    for at in range(len(names)):
        path.unlink(missing_ok=True)
        if before:
            save(path, OLD)
        child = os.fork()
        if not child:
            try:
                Faulty(monkeypatch, at, lambda: os._exit(9), 100)
                save(path, NEW)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
        renamed = at > names.index("replace")
        if before or renamed:
            assert equal(load(path), NEW if renamed else OLD)
        else:
            assert not path.exists()
        save(path, NEW)  # what a dead process left is in nobody's way
        assert equal(load(path), NEW)


def test_folders_that_cannot_be_synced(tmp_path, monkeypatch):
    def fault():
        raise OSError(errno.EINVAL, "Invalid argument")

    Faulty(monkeypatch, [i for i, call in enumerate(calls(False)) if call == "fsync"][1], fault)
    save(tmp_path / "a.npz", NEW)
    assert equal(load(tmp_path / "a.npz"), NEW)


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_no_folder_or_one_that_takes_no_files(tmp_path):
    for path in (tmp_path / "none" / "a.npz", Path("/proc/a.npz")):
        with pytest.raises(OSError, match=re.escape(str(path))) as caught:
            save(path, NEW)
        assert caught.value.filename == str(path)


@pytest.mark.skipif(sys.platform == "win32", reason="permissions differ")
def test_an_unwritable_folder(tmp_path):
    """Root may write everywhere, so a child process gives its rights away first."""
    save(tmp_path / "a.npz", OLD)
    os.chmod(tmp_path, 0o555)
    for folder in tmp_path.parents[:2]:
        os.chmod(folder, 0o755)
    code = (
        "import os, sys, hashlib, json, zipfile, numpy as np, vector\n"  # the modules may be out of reach then, too
        "if os.getuid() == 0: os.setgid(65534); os.setuid(65534)\n"
        "try: vector.checkpoint.save(sys.argv[1], {'x': np.ones(3)})\n"
        "except PermissionError as error: print(error.filename)\n"
    )
    try:
        words = [sys.executable, "-c", code, str(tmp_path / "a.npz")]
        done = subprocess.run(words, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)
        assert (done.stdout.strip(), done.stderr) == (str(tmp_path / "a.npz"), "")
        assert os.listdir(tmp_path) == ["a.npz"]
        assert equal(load(tmp_path / "a.npz"), OLD)
    finally:
        os.chmod(tmp_path, 0o755)


def test_a_disk_that_is_full(tmp_path):
    """The kernel itself says no: a process that may write files of 4,000 bytes only."""
    resource = pytest.importorskip("resource")
    save(tmp_path / "a.npz", OLD)
    code = (
        "import resource, signal, sys, numpy as np, vector\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))\n"
        "try: vector.checkpoint.save(sys.argv[1], {'x': np.ones(3000)})\n"
        "except OSError as error: print(error.errno, error.filename)\n"
    )
    words = [sys.executable, "-c", code, str(tmp_path / "a.npz")]
    done = subprocess.run(words, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)
    assert (done.stdout.split(), done.stderr) == ([str(errno.EFBIG), str(tmp_path / "a.npz")], "")
    assert os.listdir(tmp_path) == ["a.npz"] and resource
    assert equal(load(tmp_path / "a.npz"), OLD)
