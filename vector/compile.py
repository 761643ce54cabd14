"""Record a training step once, replay it as plain numpy calls.

step -> Recorder (one run) -> Program (a flat list of numpy calls) -> passes -> memory plan, source -> replay
"""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from .autodiff import mode
from .passes import optimize
from .program import Program, Var, replace
from .tensor import Tensor
from .trace import SPENT, Recorder, RecordingError, Traced, refuse


class Replay:
    """A program with what it holds on to: the tensors whose arrays it reads and writes."""

    def __init__(self, recorder: Recorder, program: Program, title: str, plain: list[tuple[int, Any]]):
        self.program, self.plain = program, plain
        self.held, self.carried = recorder.held, recorder.carried
        self.spent = recorder.close()
        self.run = program.build(title)


class CompiledStep:
    """A function of arrays that runs as Python once for each shape and dtype of its arguments, and then as a program.

    program  the numpy statements of the newest recording: print it
    source   the same as Python source
    traces   how often the Python function ran
    memory   bytes planned for results, over all recordings
    """

    def __init__(self, step: Callable[..., Any], exact: bool = True) -> None:
        functools.update_wrapper(self, step)
        self.__name__ = getattr(step, "__name__", "step")
        self.step, self.exact = step, exact
        self.traces = 0
        self.replays: dict[Any, Replay] = {}
        self.latest: Replay | None = None
        self.lock = threading.Lock()
        self.names = [p.name for p in inspect.signature(step).parameters.values()]

    @property
    def program(self) -> Program:
        """The newest recording. Raises RecordingError before the first call."""
        if self.latest is None:
            raise RecordingError(f"{self.__name__}: nothing is recorded before the first call")
        return self.latest.program

    @property
    def source(self) -> str:
        """The newest recording as Python source."""
        return self.program.source

    @property
    def memory(self) -> int:
        """Bytes planned for results, over all recordings."""
        return sum(replay.program.memory for replay in self.replays.values())

    def clear(self) -> None:
        """Forget all recordings; the next call records anew."""
        self.replays.clear()
        self.latest = None

    def __call__(self, *args: Any) -> Any:
        """Run the step: as Python and recorded for arguments of new shapes, else replayed.

        Raises RecordingError when the step does what cannot be recorded, when a plain argument changed, when a
        tensor's array was replaced after the recording, and when two threads run the step at once.
        """
        if mode.recorder is not None:  # inside another recorded step: part of that one
            return self.step(*args)
        if not self.lock.acquire(blocking=False):
            raise RecordingError(f"{self.__name__}: two threads run this recorded step at once; give each its own")
        try:
            arrays = args if all([type(x) is np.ndarray for x in args]) else plain_arrays(args)
            key = tuple([(x.shape, x.dtype) for x in arrays])
            replay = self.replays.get(key if arrays is args else (key, *map(type, args)))
            if replay is None:
                return self.record(args, key if arrays is args else (key, *map(type, args)))
            self.check(replay, args)
            return self.outputs(replay, replay.run(*arrays))
        finally:
            self.lock.release()

    def record(self, args: tuple[Any, ...], key: Any) -> Any:
        """Run the step as Python, write down its program and keep it under `key`."""
        recorder = Recorder()
        mode.recorder = recorder
        try:
            given: list[Any] = []
            for i, x in enumerate(args):
                label = self.names[min(i, len(self.names) - 1)]
                if isinstance(x, Tensor):
                    given.append(Tensor(recorder.input(x._data, x.label or label), x.label, x.requires_grad))
                else:
                    given.append(recorder.input(x, label) if isinstance(x, np.ndarray) else x)
            result = self.step(*given)
            values = replace(result, lambda x: recorder.lift(x))
            program = recorder.finish(values)
        except BaseException:
            recorder.close()
            raise
        finally:
            mode.recorder = None
        self.traces += 1
        first = [np.array(x.value) for x in flatten(values) if isinstance(x, Traced)]
        optimize(program, self.exact)
        plain = [(i, x) for i, x in enumerate(args) if not isinstance(x, (Tensor, np.ndarray))]
        replay = Replay(recorder, program, self.__name__, plain)
        self.replays[key] = self.latest = replay
        return self.outputs(replay, first)

    def check(self, replay: Replay, args: tuple[Any, ...]) -> None:
        """What was frozen must be as it was."""
        for tensor, array in replay.held:
            if tensor._data is not array:
                refuse(
                    f"follow {tensor.label or 'a tensor'} to another array, which it was given after the recording",
                    "write into it, as in p.data[...] = new, or call clear() on the step to record anew",
                )
        for i, was in replay.plain:
            x = args[i]
            if x is not was and x != was:
                refuse(
                    f"take {x!r} for its argument {self.names[min(i, len(self.names) - 1)]!r}, recorded as {was!r}",
                    "plain arguments are frozen: pass an array for what changes",
                )
        for tensor, gradient in replay.carried:
            if tensor._grad is not gradient:
                gradient[...] = 0.0 if tensor._grad is None else tensor.grad
                tensor._grad = gradient
        for tensor in replay.spent:
            tensor._grad = SPENT

    def outputs(self, replay: Replay, arrays: Any) -> Any:
        """The step's result with tensors for arrays, constants without a graph."""
        if isinstance(replay.program.outputs, Var):
            return Tensor.constant(arrays[0])
        values = iter(arrays)
        return replace(replay.program.outputs, lambda x: Tensor.constant(next(values)) if isinstance(x, Var) else x)


def plain_arrays(args: tuple[Any, ...]) -> list[np.ndarray]:
    return [x._data if isinstance(x, Tensor) else x for x in args if isinstance(x, (Tensor, np.ndarray))]


def flatten(structure: Any) -> list[Any]:
    leaves: list[Any] = []
    replace(structure, leaves.append)
    return leaves


def compile(step: Callable[..., Any] | None = None, *, exact: bool = True) -> Any:
    """Record `step`, a function of arrays that does forward pass, backward pass and update, at its first call, and
    replay it as a flat list of numpy calls from then on. Use it as a decorator.

    The first call is itself one training step. Frozen in a recording are the shapes and dtypes of the arguments (new
    ones make a new recording), the branches taken, and plain Python numbers. What changes from step to step lives in
    tensors: parameters, momenta, the learning rate. The step returns a tensor, or tensors in tuples, lists, dicts.
    With `exact=False`, passes that round in another order may run too.
    """
    if step is None:
        return functools.partial(CompiledStep, exact=exact)
    return CompiledStep(step, exact)
