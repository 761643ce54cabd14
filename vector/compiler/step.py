"""Record a training step once, replay it as plain numpy calls.

step -> Tracer (one run) -> Program (a flat list of numpy calls) -> passes -> memory plan, source -> replay
"""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..autodiff import mode
from ..errors import RecordingError, refuse
from ..random import GENERATORS, find_generators
from ..storage import EAGER, epoch
from ..tensor import Tensor
from .guards import Outside, alike, contents
from .ir import Program, Var, replace
from .passes import optimize
from .trace import SPENT, TracedArray, Tracer


class Replay:
    """A program with what it holds on to: the tensors whose arrays it reads and writes."""

    def __init__(
        self,
        recorder: Tracer,
        program: Program,
        title: str,
        plain: list[Any],
        outside: Outside,
        spent: list[int],
    ) -> None:
        self.program, self.plain, self.outside, self.spent = program, plain, outside, spent
        self.held, self.carried = recorder.held, recorder.carried
        self.constant = {tensor for tensor in self.held if not tensor.requires_grad}
        self.left = recorder.close()
        self.run = program.build(title)
        self.again: Callable[..., Any] = other  # what `quick` wrote

    def quick(self, args: tuple[Any, ...], lock: threading.Lock) -> Callable[..., Any]:
        """What replays where other arguments are alike and everything outside is still the same object, and else
        returns OTHER: then it is for `check` to find out what changed. It is written for this recording; where there is
        more to look at, it always returns OTHER.
        """
        others = [(look, x, content) for look, x, content in self.outside.found if not look.watched]
        changing = any(x is not content for _, x, content in others)
        if self.carried or changing or not all(type(x) is np.ndarray for x in args):
            return other
        names: dict[str, Any] = {"ndarray": np.ndarray, "mode": mode, "run": self.run, "results": self.results}
        names |= {"lock": lock, "locked": lock.locked, "OTHER": OTHER}
        tests = []

        def known(thing: Any) -> str:
            names[f"x{len(names)}"] = thing
            return f"x{len(names) - 1}"

        for i, x in enumerate(args):
            a = f"a{i}"
            tests.append(f"type({a}) is ndarray and {a}.shape == {x.shape} and {a}.strides == {x.strides}")
            tests.append(f"{a}.dtype is {known(x.dtype)}")
        for tensor, array in self.held.items():
            name = known(tensor)
            tests.append(f"{name}._data is {known(array)} and {name}.requires_grad is {tensor not in self.constant}")
        tests += [f"{looked_up(look.read, known)} is {known(x)}" for look, x, _ in others]
        ends = [f"{known(tensor)}._grad = {known(after)}" for tensor, after in self.left]
        given = ", ".join(f"a{i}" for i in range(len(args)))
        text = f"""
def quick(*args):
    if len(args) == {len(args)} and mode.usual and not locked():
        with lock:
            [{given}] = args
            if {" and ".join(tests) or "True"}:
                {"; ".join(ends) or "pass"}
                return results(run({given}))
    return OTHER
"""
        exec(text, names)
        return names.pop("quick")

    def spend(self, args: tuple[Any, ...]) -> None:
        """Mark the gradients of tensors among the arguments as used up: the step alone has seen them."""
        for i in self.spent:
            args[i]._grad = SPENT

    @property
    def results(self) -> Callable[[Any], Any]:
        """What makes the step's result of the arrays: tensors for arrays, constants without a graph."""
        outputs = self.program.outputs

        def constant(x: Any) -> Tensor:
            return Tensor.constant(x if type(x) is np.ndarray else np.asarray(x))  # numpy gives numbers for some

        if isinstance(outputs, Var):
            return lambda arrays: constant(arrays[0])

        def results(arrays: Any) -> Any:
            values = iter(arrays)
            return replace(outputs, lambda x: constant(next(values)) if isinstance(x, Var) else x)

        return results


OTHER = object()  # what a quick replay says to what is not as it was


def other(*args: Any) -> Any:
    """No quick replay: before the first recording, and where there is more to look at."""
    return OTHER


def looked_up(read: Any, known: Callable[[Any], str]) -> str:
    """How something outside is looked up, as text."""
    if read() is None:  # a cell may be empty
        return f"{known(read)}()"
    if read.func is contents:
        return f"{known(read.args[0])}.cell_contents"
    if read.func is getattr:
        return f"{known(read.args[0])}.{read.args[1]}"
    return f"{known(read.func.__self__)}.get({read.args[0]!r})"


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
        self.quick: Callable[..., Any] = other  # the last replay, where there is not much to look at
        self.epoch = epoch.now
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

    def look_again(self) -> None:
        """At the next call, look at everything that the step finds outside."""
        self.quick = other

    def clear(self) -> None:
        """Forget all recordings; the next call records anew."""
        self.replays.clear()
        self.latest, self.quick = None, other

    def forget_stale(self) -> None:
        """Forget the recordings of a step that finds something else outside now; the next call records anew."""
        self.replays = {key: replay for key, replay in self.replays.items() if not replay.outside.changed()}
        self.look_again()
        if self.latest not in self.replays.values():
            self.latest = None

    def __call__(self, *args: Any, **named: Any) -> Any:
        """Run the step: as Python and recorded for arguments of new shapes, else replayed.

        Raises RecordingError when the step does what cannot be recorded, when a plain argument or a name that the step
        refers to changed, when a tensor's array was replaced after the recording, and when two threads run the step
        at once.
        """
        if self.epoch != epoch.now:
            self.epoch = epoch.now
            self.look_again()
        if not named and (result := self.quick(*args)) is not OTHER:
            return result
        if mode.store is not EAGER or mode.check is not None:  # part of another recorded step, or to be looked at
            return self.step(*args, **named)
        if self.lock.locked():
            refuse("run in two threads at once", "give each thread a recorded step of its own")
        with self.lock:  # an interrupt between acquire() and try would leave it locked
            names, args = tuple(named), (*args, *named.values())
            arrays = args if all([type(x) is np.ndarray for x in args]) else plain_arrays(args)
            key: Any = (mode.graph, names, *[(x.shape, x.dtype, x.strides) for x in arrays])
            if arrays is not args:
                key = (key, *map(kind, args))
            replay = self.replays.get(key)
            if replay is None:
                return self.record(args, names, key)
            self.quick = replay.again  # before the looks: what changes after one of them takes it back
            try:
                self.check(replay, args)
            except BaseException:
                self.look_again()
                raise
            self.settle(replay)
            result = replay.results(replay.run(*arrays))
            replay.spend(args)
            return result

    def record(self, args: tuple[Any, ...], names: tuple[str, ...], key: Any) -> Any:
        """Run the step as Python, write down its program and keep it under `key`. The last arguments have `names`."""
        plain = [
            (i, self.name(i, args, names), x) for i, x in enumerate(args) if not isinstance(x, (Tensor, np.ndarray))
        ]
        for _, name, x in plain:
            if not hashable(x):
                refuse(
                    f"take a {type(x).__name__} for its argument {name!r}, which may change unseen",
                    "pass arrays as arguments of their own, and several numbers as an array",
                )
        outside = Outside(self.step)
        for look, x, _ in outside.found:
            if isinstance(x, Iterator) and not look.watched:
                refuse(f"take what comes next from {look.name!r} at each replay", "pass it as an argument")
        recorder = Tracer(find_generators([self.step, args, *(x for _, x, _ in outside.found)], GENERATORS))
        try:
            mode.store = recorder
            given: list[Any] = []
            tensors: dict[Tensor, Tensor] = {}  # the arguments, and what the step is given for them
            for i, x in enumerate(args):
                label = self.name(i, args, names)
                if isinstance(x, Tensor):
                    array = recorder.input(x._data, x.label or label)
                    given.append(tensors.setdefault(x, Tensor(array, x.label, x.requires_grad)))
                else:
                    given.append(recorder.input(x, label) if isinstance(x, np.ndarray) else x)
            first = len(args) - len(names)
            result = self.step(*given[:first], **dict(zip(names, given[first:], strict=True)))
            check_tensors(tensors, recorder)
            spent = [i for i, x in enumerate(args) if isinstance(x, Tensor) and tensors[x]._grad is not None]
            program, values = recorder.finish(result)
            read = {id(x.value) for x in recorder.known.values()}  # arrays that a replay reads where they lie
            outside.found = [(look, x, x if id(x) in read else content) for look, x, content in outside.found]
        except BaseException:
            recorder.close()
            raise
        finally:
            mode.store = EAGER
        self.traces += 1
        first_values = [np.array(x.value) for x in flatten(values) if isinstance(x, TracedArray)]
        optimize(program, self.exact)
        replay = Replay(recorder, program, self.__name__, plain, outside, spent)
        replay.spend(args)
        if not names and mode.usual:
            replay.again = replay.quick(args, self.lock)
        self.quick = replay.again
        if outside.changed():  # by the step itself
            self.look_again()
        self.replays[key] = self.latest = replay
        return replay.results(first_values)

    def name(self, i: int, args: tuple[Any, ...], names: tuple[str, ...]) -> str:
        """The name of argument number i, where the last arguments have `names`."""
        k = i - (len(args) - len(names))
        return names[k] if k >= 0 else self.names[min(i, len(self.names) - 1)]

    def check(self, replay: Replay, args: tuple[Any, ...]) -> None:
        """What was frozen must be as it was."""
        for tensor, array in replay.held.items():
            if tensor._data is not array:
                refuse(
                    f"follow {tensor.label or 'a tensor'} to another array, which it was given after the recording",
                    "write into it, as in p.data[...] = new, or call clear() on the step to record anew",
                )
            if tensor.requires_grad is (tensor in replay.constant):
                refuse(
                    f"follow {tensor.label or 'a tensor'}, whose requires_grad changed after the recording",
                    "call clear() on the step to record anew",
                )
        for i, name, was in replay.plain:
            x = args[i]
            if not alike(x, was):
                refuse(
                    f"take {x!r} for its argument {name!r}, recorded as {was!r}",
                    "plain arguments are frozen: pass an array for what changes",
                )
        if name := replay.outside.changed():
            refuse(
                f"follow {name!r}, which changed after the recording",
                "hold what changes in a tensor or an argument, or call clear() on the step to record anew",
            )

    def settle(self, replay: Replay) -> None:
        """Leave the tensors' gradients as the step will have left them."""
        for tensor, (gradient, empty) in replay.carried.items():
            if tensor._grad is not gradient:
                gradient[...] = empty if tensor._grad is None else tensor.grad
                tensor._grad = gradient
        for tensor, after in replay.left:
            tensor._grad = after


def check_tensors(tensors: dict[Tensor, Tensor], recorder: Tracer) -> None:
    """A replay takes arrays: what a step does to a tensor that is an argument is not to be lost."""
    for x, inside in tensors.items():
        name = f"its argument {x.label}" if x.label else "an argument"
        if x in recorder.held:
            what = f"find {name} outside, too"
        elif getattr(inside._data, "_var", None) not in recorder.inputs:
            what = f"give {name} another array"
        elif x.op and x.requires_grad and mode.graph:
            what = f"differentiate what {name} was made of"
        else:
            continue
        refuse(what, "let the step find the tensor outside instead, or pass its array")


def kind(x: Any) -> Any:
    """What else than shape, dtype and layout makes an argument another one."""
    return (Tensor, x.requires_grad) if isinstance(x, Tensor) else type(x)


def hashable(x: Any) -> bool:
    try:
        hash(x)
    except TypeError:
        return False
    return True


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
    With `exact=False`, passes that round in another order may run too. After an error or an interrupt in the middle of
    a step some weights may be updated, or some rows of one, and others not.
    """
    if step is None:
        return functools.partial(CompiledStep, exact=exact)
    return CompiledStep(step, exact)
