"""Record a training step once, replay it as plain numpy calls.

step -> Tracer (one run) -> Program (a flat list of numpy calls) -> passes -> memory plan, source -> replay

Each call of a recorded step is a replay, or a run as Python that makes a recording or verifies one.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import operator
import os
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, NoReturn

import numpy as np

from ..autodiff import mode
from ..errors import RecordingError, refusals, refuse, users_line
from ..random import GENERATORS, find_generators
from ..storage import EAGER
from ..tensor import Tensor
from .arguments import Arguments, Values
from .codegen import build
from .floats import TracedFloat
from .guards import GuardSet, Method
from .ir import Program, Var, replace
from .passes import optimize
from .profile import Profile, profile
from .trace import DONATED, TracedArray, Tracer
from .verify import Signature, StaleRecording, stale

NEVER = 2**62
STEPS: weakref.WeakSet[CompiledStep] = weakref.WeakSet()
ndarray = np.ndarray
layout = operator.attrgetter("shape", "strides", "dtype")


class Returned(Tensor):
    """A tensor that a recorded step returned: a constant, whose graph was the step's own."""

    __slots__ = ()

    def backward(self, gradient: Any = None) -> NoReturn:
        """Raises RecordingError."""
        refuse("differentiate what it returned, which has no graph", "call backward() inside the step")


RETURNED = Returned.constant  # bound once, for replays


class Run(NamedTuple):
    """A run of a step as Python, written down."""

    tracer: Tracer
    program: Program
    result: Any
    signature: Signature
    left: list[tuple[Any, Any]]  # leaf tensors, and what the step leaves as their gradient
    donated: list[int]  # the arguments whose gradient the step used up


class Replay:
    """A recording: its program, and what it holds on to.

    count, due     calls so far; the number of the call at which the step is recorded again
    checked        the last call that ran as Python
    confirmed      whether a run after the first did what the first did
    layouts        shape, strides and dtype of each argument, if all are arrays that share nothing; else None
    """

    def __init__(self, run: Run, guards: GuardSet, arguments: Arguments, title: str) -> None:
        self.signature, self.guards, self.left = run.signature, guards, run.left
        self.donated, self.plain = run.donated, arguments.plain  # whose ids are in the key
        self.tensors, self.accumulated = run.tracer.tensors, run.tracer.accumulated
        guards.tensors = [*self.tensors.items()]
        guards.wanted = [(tensor, tensor.requires_grad) for tensor in {**self.tensors, **run.tracer.asked}]
        self.count = self.checked = 1
        self.due, self.confirmed = NEVER, False
        arrays = [x for _, x in arguments.leaves if type(x) is np.ndarray]
        simple = len(arrays) == len(arguments.args) and not (arguments.named or arguments.overlaps) and mode.graph
        self.layouts = [*map(layout, arrays)] if simple else None
        self.program, self.run = build(run.program, title)
        self.single = isinstance(run.program.outputs, Var)

    def takes(self, args: tuple[Any, ...]) -> bool:
        """Whether these are arguments like those of the recording, at a glance."""
        layouts = self.layouts
        if layouts is None or len(args) != len(layouts):
            return False
        for x, expected in zip(args, layouts):  # noqa: B905  (it takes longer)
            if type(x) is not ndarray or layout(x) != expected:
                return False
        if len(args) == 2:  # do they share memory? spelt out, as it is the usual case
            x, y = args
            below, beneath = x.base, y.base
            return x is not y and below is not y and beneath is not x and (below is None or below is not beneath)
        return len(args) < 2 or len({id(x if x.base is None else x.base) for x in args}) == len(args)

    def schedule(self, every: int) -> None:
        """Say when to record again: at calls 2, 4, 8, ... and every so many."""
        self.checked, self.due = self.count, 1 << self.count.bit_length()
        if every:
            self.due = min(self.due, self.count - self.count % every + every)

    def replay(self, inputs: Any) -> Any:
        """Take one step. The tensors' gradients are left as the step would have left them."""
        self.count += 1
        if self.accumulated:
            self.accumulate()
        for tensor, after in self.left:
            tensor._grad = after
        arrays = self.run(*inputs)
        if self.single and type(arrays[0]) is ndarray:
            return RETURNED(arrays[0])
        return returned(self.program.outputs, arrays)

    def replay_all(self, batches: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
        """Take a step for each batch, and yield the arrays of its result."""
        if self.accumulated:
            self.accumulate()  # from then on they are the program's own
        for tensor, after in self.left:
            tensor._grad = after
        run = self.run
        for batch in batches:
            self.count += 1
            yield run(*batch)

    def accumulate(self) -> None:
        """Let gradients that go on from step to step start from what the tensors have."""
        for tensor, (gradient, empty) in self.accumulated.items():
            if tensor._grad is not gradient:
                gradient[...] = empty if tensor._grad is None else tensor.grad
                tensor._grad = gradient

    def donate(self, arguments: Arguments) -> None:
        """Mark the gradients of tensors among the arguments as used up: the step alone has seen them."""
        for i in self.donated:
            arguments.leaves[i][1]._grad = DONATED


def returned(outputs: Any, arrays: Any) -> Any:
    """The step's result: the structure of its outputs, with tensors, constants without a graph, for the arrays."""
    values = iter(arrays)
    return replace(outputs, lambda x: RETURNED(np.asarray(next(values))) if isinstance(x, Var) else x)


class CompiledStep:
    """A function of arrays that runs as Python for arguments of new shapes, now and then to verify, else as a program.

    program    the numpy statements of the newest recording: print it
    source     the same as Python source
    traces     how many recordings were made
    verified   how often the step ran as Python again, to verify a recording
    memory     bytes planned for results, over all recordings
    """

    verifying = True

    def __init__(self, step: Callable[..., Any], exact: bool = True, verify: int = 0, recordings: int = 64) -> None:
        if verify < 0 or recordings < 1:
            raise ValueError(f"compile: expected verify from 0 and recordings from 1, got {verify} and {recordings}")
        functools.update_wrapper(self, step, updated=())
        self.__name__ = getattr(step, "__name__", "step")
        self.step, self.exact, self.verify, self.recordings = step, exact, verify, recordings
        self.traces = self.verified = 0
        self.replays: dict[Any, Replay] = {}  # the least recently used first
        self.latest: Replay | None = None
        self.current: Replay | None = None  # the last one used
        self.values = Values()
        self.lock = threading.Lock()
        STEPS.add(self)
        self.bound: dict[int, tuple[weakref.ref[Any], CompiledStep]] = {}
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
        self.latest = self.current = None
        self.values = Values()

    def forget(self, wanted: Callable[[Replay], bool]) -> None:
        self.replays = {key: replay for key, replay in self.replays.items() if not wanted(replay)}
        self.current = None
        if self.latest not in self.replays.values():
            self.latest = None

    def forget_stale(self) -> None:
        """Forget the recordings of a step whose captured values changed; the next call records anew."""
        self.forget(lambda replay: bool(replay.guards.rebound() or replay.guards.changed()))

    def verify_next(self) -> None:
        """Verify each recording at its next call."""
        for replay in self.replays.values():
            replay.due = 0 if self.verifying else NEVER

    def __get__(self, instance: Any, owner: Any = None) -> CompiledStep:
        """As a method: a recorded step for each instance, which goes with it."""
        if instance is None:
            return self
        bound, key = self.bound, id(instance)
        if key not in bound:
            step = CompiledStep(Method(self.step, instance), self.exact, self.verify, self.recordings)
            step.names = self.names[1:]
            bound[key] = weakref.ref(instance, lambda _: bound.pop(key, None)), step
        return bound[key][1]

    def over(self, *arrays: Any) -> Any:
        """Take a step for each row of these arrays (steps, ...): like `[step(*batch) for batch in zip(*arrays)]`, with
        what the steps return stacked, (steps, ...). What is looked at before each step, arguments and captured values,
        is looked at before the first and behind each that runs as Python, as nothing else runs in between.

        Raises ValueError for no arrays and for arrays of other lengths, and what a step raises.
        """
        lengths = {len(x) if isinstance(x, np.ndarray) and x.ndim else 0 for x in arrays}
        if len(lengths) != 1 or 0 in lengths:
            shapes = [getattr(x, "shape", type(x).__name__) for x in arrays]
            raise ValueError(f"over: expected arrays with a row for each of at least one step, got {shapes}")
        first, *others = zip(*([x[i, ...] for i in range(len(x))] for x in arrays), strict=True)
        result = self(*first)
        rows = [arrays_of(result), *self.each(others, self, still=True)]
        columns = map(np.array, zip(*rows, strict=True))
        return replace(result, lambda x: RETURNED(next(columns)) if isinstance(x, Tensor) else x)

    def each(
        self, batches: Iterable[tuple[Any, ...]], call: Callable[..., Any], still: bool
    ) -> Iterator[tuple[Any, ...]]:
        """Take a step for each batch, and yield the arrays of its result; `call` takes a step that is no replay.

        Arguments and captured values are looked at before each step; where all is `still`, before the first and behind
        each that runs as Python: nothing that changes a captured value may then run in between, and all batches are of
        the same shapes, strides and dtypes.
        """
        left = iter(batches)
        for batch in left:
            replay = self.current
            if replay is not None and mode.usual and not self.lock.locked():
                with self.lock:
                    number = replay.due - replay.count - 1
                    if number > 0 and replay.takes(batch) and replay.guards.unchanged():
                        more = itertools.islice(left, number - 1) if still else ()
                        yield from replay.replay_all(itertools.chain([batch], more))
                        continue
            yield arrays_of(call(*batch))

    def profile(self, *args: Any, repeat: int = 100, **named: Any) -> Profile:
        """Say where the time of a step goes: take `repeat` steps with these arguments, by the line, and put all back
        that they change. Print what it returns.

        Raises RecordingError where no step with such arguments is recorded yet.
        """
        arguments = Arguments(self.names, args, named)
        replay = self.replays.get((mode.graph, arguments.key))
        if replay is None:
            raise RecordingError(
                f"{self.__name__}: nothing is recorded for such arguments: call the step with them first"
            )
        self.check(replay, arguments)
        tensors = [x for x in (*replay.tensors, *(x for _, x in arguments.leaves)) if isinstance(x, Tensor)]
        gradients = [(x, x._grad) for x in tensors]
        count, due, replay.due = replay.count, replay.due, NEVER
        try:
            step = functools.partial(self, *args, **named)
            return profile(self.__name__, replay.program, replay.run, arguments.inputs, step, repeat)
        finally:
            replay.count, replay.due = count, due
            for x, gradient in gradients:
                x._grad = gradient

    def __call__(self, *args: Any, **named: Any) -> Any:
        """Run the step: as Python and recorded for arguments of new shapes, as Python once more where that is due,
        else replayed.

        Raises RecordingError when the step does what cannot be recorded, when a captured value changed or a tensor's
        array was replaced after the recording, when the step no longer does what was recorded (then StaleRecording,
        which has its `result`), and when two threads run the step at once.
        """
        replay = self.current
        if replay is not None and not named and mode.usual and not self.lock.locked():
            with self.lock:  # an interrupt between acquire() and try would leave it locked
                if replay.count + 1 < replay.due and replay.takes(args) and replay.guards.unchanged():
                    return replay.replay(args)
        if mode.store is not EAGER or mode.check is not None:  # part of another recorded step, or checked for anomalies
            return self.step(*args, **named)
        if self.lock.locked():
            refuse("run in two threads at once", "give each thread a recorded step of its own")
        with self.lock:
            arguments = Arguments(self.names, args, named)
            key = mode.graph, arguments.key
            if key not in self.replays:
                return self.record(arguments, key)
            replay = self.current = self.replays[key] = self.replays.pop(key)  # now the last
            self.check(replay, arguments)
            if replay.count + 1 >= replay.due:
                return self.record_again(replay, arguments)
            result = replay.replay(arguments.inputs)
            replay.donate(arguments)
            return result

    def check(self, replay: Replay, arguments: Arguments) -> None:
        """Raises RecordingError where a captured value is not as it was."""
        if replay.guards.unchanged():
            pass
        elif rebound := replay.guards.rebound():
            refuse(*rebound)
        elif name := replay.guards.changed():
            refuse(
                f"follow {name!r}, which changed after the recording",
                "hold what changes in a tensor or an argument, or call clear() on the step to record anew",
            )
        for name, x in arguments.leaves:
            if isinstance(x, Tensor) and x in replay.tensors:
                refuse(f"find its argument {x.label or name} outside, too", INSTEAD)

    def record(self, arguments: Arguments, key: Any) -> Any:
        """Run the step as Python, and keep its program under `key`."""
        self.values.add(arguments.plain)
        guards = GuardSet([(getattr(self.step, "__name__", "self"), self.step), *arguments.plain])
        for name in guards.iterators():
            refuse(f"take what comes next from {name!r} at each replay", "pass next() of it as an argument")
        run = self.run(arguments, guards)
        run = run._replace(program=optimize(run.program, self.exact))
        replay = Replay(run, guards, arguments, self.__name__)
        replay.donate(arguments)
        self.plan(replay)
        while len(self.replays) >= self.recordings:
            self.replays.pop(next(iter(self.replays)))
        self.replays[key] = self.current = self.latest = replay
        self.traces += 1
        return run.result

    def record_again(self, replay: Replay, arguments: Arguments) -> Any:
        """Run the step as Python once more. Where it does something else, forget the recording and raise an error."""
        try:
            run = self.run(arguments, replay.guards)
            self.verified += 1
            difference = replay.signature.difference(run.signature)
            if difference is not None:
                replayed = replay.count - replay.checked
                message = stale(difference, users_line(), replayed)
                raise StaleRecording(message, run.result, replayed, replay.confirmed, replay.due == 0)
        except RecordingError:
            self.forget(lambda other: other is replay)
            self.verify_next()
            raise
        replay.donate(arguments)
        replay.count += 1
        replay.confirmed = True
        self.plan(replay)
        return run.result

    def plan(self, replay: Replay) -> None:
        replay.schedule(self.verify)
        if not self.verifying:
            replay.due = NEVER

    def run(self, arguments: Arguments, guards: GuardSet) -> Run:
        """Run the step as Python, written down. Raises RecordingError for what cannot be recorded."""
        tracer = Tracer(find_generators([self.step, arguments.args, arguments.named, guards.values()], GENERATORS))
        tensors: dict[Tensor, Tensor] = {}  # the arguments, and what the step is given for them
        try:
            start(tracer)
            args, named = arguments.rebuild(given(arguments, tracer, tensors))
            result = self.step(*args, **named)
            check_tensors(tensors, tracer)
            leaves = [x for _, x in arguments.leaves]
            donated = [i for i, x in enumerate(leaves) if isinstance(x, Tensor) and tensors[x]._grad is not None]
            program, values = tracer.finish(result)
            arrays = [np.array(x.value) for x in flatten(values) if isinstance(x, TracedArray)]
            if refusals.seen:  # and swallowed by the step
                raise refusals.seen[0]
            left = tracer.close()
        except BaseException as error:
            tracer.close()
            if isinstance(error, Exception) and refusals.seen and error not in refusals.seen:
                raise refusals.seen[0] from error
            raise
        finally:
            try:
                start(None)
            finally:  # again, where an interrupt came in the midst of that
                start(None)
        signature = Signature(tracer, program, [*left, ("arguments", *donated)])
        result = returned(program.outputs, arrays)
        if name := guards.changed():
            refuse(
                f"change {name!r} by itself, which a replay would not; the step just taken is right",
                "hold what changes in a tensor, or change it outside the step; if the step does it once, call it again",
            )
        return Run(tracer, program, result, signature, left, donated)


def start(tracer: Tracer | None) -> None:
    """From now on write down what tensors do, or with None no longer."""
    mode.store = EAGER if tracer is None else tracer
    refusals.seen = None if tracer is None else []


def given(arguments: Arguments, tracer: Tracer, tensors: dict[Tensor, Tensor]) -> Iterator[Any]:
    """What the step gets for each input: the same for the same object."""
    arrays: dict[int, Any] = {}
    for (name, x), array in zip(arguments.leaves, arguments.inputs, strict=True):
        traced = tracer.input(array, (isinstance(x, Tensor) and x.label) or name)
        if isinstance(x, Tensor):
            yield tensors.setdefault(x, Tensor(traced, x.label, x._requires_grad))
        elif isinstance(x, np.ndarray):
            yield arrays.setdefault(id(x), traced)
        elif isinstance(x, np.floating):
            yield TracedArray(tracer, traced._var, traced.value, number=True)
        else:
            yield TracedFloat(tracer, traced._var, traced.value, number=True)


INSTEAD = "let the step find the tensor outside instead, or pass its array"


def check_tensors(tensors: dict[Tensor, Tensor], tracer: Tracer) -> None:
    """A replay takes arrays: what a step does to a tensor that is an argument is not to be lost."""
    for x, inside in tensors.items():
        name = f"its argument {x.label}" if x.label else "an argument"
        if x in tracer.tensors:
            what = f"find {name} outside, too"
        elif getattr(inside._data, "_var", None) not in tracer.inputs:
            what = f"give {name} another array"
        elif x.op and x._requires_grad and mode.graph:
            what = f"differentiate what {name} was made of"
        else:
            continue
        refuse(what, INSTEAD)


def arrays_of(result: Any) -> tuple[Any, ...]:
    """The arrays of the tensors in what a step returned."""
    return tuple([x.data for x in flatten(result) if isinstance(x, Tensor)])


def flatten(structure: Any) -> list[Any]:
    leaves: list[Any] = []
    replace(structure, leaves.append)
    return leaves


def compile(
    step: Callable[..., Any] | None = None, *, exact: bool = True, verify: int = 0, recordings: int = 64
) -> Any:
    """Record `step`, a function of arrays that does forward pass, backward pass and update, at its first call, and
    replay it as a flat list of numpy calls from then on. Use it as a decorator, also of a method.

    The first call is itself one training step. What changes from step to step lives in tensors (parameters, momenta,
    the learning rate) or is an argument: arrays, tensors and floats, also in tuples, lists and dicts. Another shape,
    dtype or layout, and another plain argument (int, bool, str, None), make a recording each; a plain argument may
    have a few values. The last 64 `recordings` used are kept. The step returns a tensor, or tensors in tuples, lists
    and dicts, which are constants outside.

    Frozen are the branches taken and the plain values found outside. Refused at once, at the next call, is a change of
    globals, variables of enclosing functions, defaults, attributes of objects and arguments, of modules and classes of
    one's own, of the elements of containers (of more than 1,000 the number alone), as far as the step's functions name
    them; any change to an attribute of a layer or optimizer; another array for a tensor, another `requires_grad`; and
    at the recording, that the step itself changes one of these. Anything else (numbers in a plain array that numpy
    alone computes with, names made up as text, files, clocks) is found at the next recording again: calls 2, 4, 8,
    16, ... of a recording, and with `verify=n` every n-th, run the step as Python once more, which is a right step,
    and compare call by call. Where it differs, StaleRecording, a RecordingError, names the first difference; steps
    since the last such call may be wrong, and the next call records anew. `verify=1` never replays, and trusts nothing.
    What a step does in Python alone (counters, lists that it appends to, prints) happens only at these calls.

    With `exact=False`, passes that round in another order may run too. After an error or an interrupt in the middle of
    a step some weights may be updated, or some rows of one, and others not. Raises ValueError for a negative `verify`
    and for no `recordings`.
    """
    if step is None:
        return functools.partial(CompiledStep, exact=exact, verify=verify, recordings=recordings)
    return CompiledStep(step, exact, verify, recordings)


def unlock() -> None:
    """In a child process nobody else runs a step, whoever did when it was forked."""
    for step in STEPS:
        step.lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=unlock)
