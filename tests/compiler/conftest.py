"""Behind every pass of every recording here: is the program still one?"""

from collections.abc import Iterator

import pytest
from recorded import always

from vector.compiler import passes
from vector.compiler.ir import check
from vector.compiler.passes import at_once
from vector.compiler.step import CompiledStep
from vector.runtime import matmul, threads


@pytest.fixture(autouse=True, scope="module")
def checked() -> Iterator[None]:
    """Check the invariants of each program behind each pass."""
    with pytest.MonkeyPatch.context() as patch:
        honest = passes.apply

        def apply(change, program):  # type: ignore[no-untyped-def]
            made = honest(change, program)
            check(made)
            return made

        patch.setattr(passes, "apply", apply)
        yield


@pytest.fixture(scope="module")
def only_replays() -> Iterator[None]:
    """No step runs as Python once it is recorded."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CompiledStep, "verifying", False)
        yield


@pytest.fixture
def workers_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """BLAS's own threads share nothing, as where numpy has another BLAS."""
    monkeypatch.setattr(at_once, "parts_at_once", lambda x, y: 1)


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Products of any size are worth sharing, and shared where there are threads."""
    monkeypatch.setattr(threads.Autotuner, "advice", always)
    monkeypatch.setattr(matmul, "SHARED", 1)
    monkeypatch.setattr(matmul, "WAKE", 0)
    monkeypatch.setattr(matmul, "machine_cores", lambda: 2)
