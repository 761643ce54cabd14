"""What becomes of a call of numpy's once tensors stand for its arrays: the right tensor, a plain answer where nothing
is lost, or an error that names the way."""

import inspect
import itertools
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy_calls import FUNCTIONS, UNSIGNED, Call, holds_floats

import vector
from vector import Tensor, autodiff, ops

WAY = r"\bvector\b|\.data\b|\bdetach\b|such as x > 0|got bool|unsupported operand"
RIGHT, PLAIN, REFUSED, CONVERTED, UNREAD = OUTCOMES = ("right", "plain", "refused", "converted", "unread")


class Wrong(AssertionError):
    """A silent plain answer, a wrong number, or an error that does not say what to do."""


@contextmanager
def numbers_asked() -> Iterator[list[Any]]:
    """The tensors that are turned into single numbers meanwhile."""
    asked: list[Any] = []
    item = Tensor.item

    def counting(tensor: Any) -> float:
        asked.append(tensor)
        return item(tensor)

    setattr(Tensor, "item", counting)  # noqa: B010  (mypy)
    try:
        yield asked
    finally:
        setattr(Tensor, "item", item)  # noqa: B010


def dressed(x: Any, kind: str, make: Callable[[np.ndarray], Any]) -> Any:
    """`x` with what `make` makes for its arrays of floats: of each whole array, or of the first in a list, or of its
    rows in a list, or of its numbers in lists."""
    if isinstance(x, (list, tuple)):
        if kind == "first":
            return type(x)([dressed(part, "whole", make) if i == 0 else part for i, part in enumerate(x)])
        return type(x)([dressed(part, kind, make) for part in x])
    if not holds_floats(x):
        return x
    if kind in ("rows", "numbers") and x.ndim:
        return [dressed(np.asarray(row), kind if kind == "numbers" else "whole", make) for row in x]
    return make(x)


def dresses(call: Call) -> Iterator[tuple[list[Any], dict[str, Any], list[Any]]]:
    """The arguments with tensors for one or for all of the arrays, and in lists, wherever numpy takes plain arrays so.
    Comes with the tensors."""
    args, kwargs = call.arguments()
    here = [i for i, x in [*enumerate(args), *kwargs.items()] if holds_floats(x) and i not in kept_plain(call)]
    kinds = ["whole"] if "operator" in call.name else ["whole", "first", "rows", "numbers"]  # lists have their own
    for places, kind in itertools.product({(i,): 0 for i in here} | {tuple(here): 0}, kinds):
        args, kwargs = call.arguments()
        given = {**dict(enumerate(args)), **kwargs}
        if not places or (kind == "first" and not any(isinstance(given[i], (list, tuple)) for i in places)):
            continue
        tensors: list[Any] = []

        def make(x: np.ndarray, tensors: list[Any] = tensors) -> Any:
            tensors.append(Tensor(x.copy()))
            return tensors[-1]

        given |= {i: dressed(given[i], kind, make) for i in places}
        args, kwargs = [given[i] for i in range(len(args))], {key: given[key] for key in kwargs}
        if kind == "whole" or taken(call, args, kwargs):
            yield args, kwargs, tensors


def taken(call: Call, args: Any, kwargs: Any) -> bool:
    """Whether numpy takes plain arrays in these places."""
    try:
        run(FUNCTIONS[call.name], undressed(args), undressed(kwargs))
    except Exception:
        return False
    return True


def kept_plain(call: Call) -> set[Any]:
    """Where numpy takes its own arrays alone: for what it writes to, and for that whose method it is."""
    f = FUNCTIONS[call.name]
    names = list(inspect.signature(f).parameters) if call.name not in UNSIGNED else []
    places = {i for i, name in enumerate(names) if name in ("out", "self")} | {"out"}
    return places | (set(range(f.nin, 9)) if isinstance(f, np.ufunc) else set())


def parts(x: Any) -> list[Any]:
    """The arrays and tensors of a result."""
    if isinstance(x, np.ndarray) and x.dtype == object:
        x = x.ravel().tolist()
    if isinstance(x, (list, tuple)):
        return [part for y in x for part in parts(y)]
    return [x.coeffs if isinstance(x, np.poly1d) else x]


def undressed(x: Any) -> Any:
    """Plain arrays, copies, for the tensors."""
    if isinstance(x, dict):
        return {key: undressed(y) for key, y in x.items()}
    if isinstance(x, (list, tuple)):
        return type(x)([undressed(y) for y in x])
    return x.data.copy() if isinstance(x, Tensor) else x.copy() if isinstance(x, np.ndarray) else x


def run(f: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return f(*args, **kwargs)


def outcome(call: Call, args: list[Any], kwargs: dict[str, Any], tensors: list[Any]) -> str:
    """What becomes of the call: one of OUTCOMES. Raises Wrong.

    right      tensors, of the right value and gradient
    plain      bools or whole numbers, whose derivative is 0
    refused    TypeError naming the way
    converted  a single number was asked for by Python's own float(t), which says that it leaves the graph
    unread     numpy does not look at the tensors, or only whether they are there
    """
    f = FUNCTIONS[call.name]
    written = [x.copy() for x in args if isinstance(x, np.ndarray)]
    try:
        with numbers_asked() as asked:
            result = run(f, placed(args, {}), kwargs)  # lists of their own: list += list writes
    except TypeError as error:
        if re.search(WAY, str(error)):
            return REFUSED
        raise Wrong(f"{call}: an error that names no way: {error!r}") from error
    except Exception as error:
        raise Wrong(f"{call}: not a TypeError: {error!r}") from error
    if asked:
        return CONVERTED
    found = [x.copy() if isinstance(x, np.ndarray) else x for x in parts(result)]
    for x, before in zip([x for x in args if isinstance(x, np.ndarray)], written, strict=True):
        x[...] = before  # for who writes to its arguments

    def plainly() -> list[Any]:
        return parts(run(f, undressed(args), undressed(kwargs)))

    expected = plainly()
    if len(found) != len(expected):
        raise Wrong(f"{call}: {len(found)} results, and not {len(expected)}")
    nodes = [x for x in found if isinstance(x, Tensor)]
    for got, want in zip(found, expected, strict=True):
        compare(call, got, want)
    if not all(isinstance(x, Tensor) or holds_no_slope(x) for x in found):
        if not unmoved([isinstance(x, Tensor) for x in found], tensors, plainly):
            raise Wrong(f"{call}: a silent plain answer: {result!r}")
        return UNREAD
    if nodes:
        at = [i for i, x in enumerate(found) if isinstance(x, Tensor)]
        run(check_slopes, (call, nodes, tensors, lambda: [x for i, x in enumerate(plainly()) if i in at]), {})
    return RIGHT if nodes else PLAIN


def unmoved(aside: list[bool], tensors: list[Any], plainly: Callable[[], list[Any]]) -> bool:
    """Whether all that is not put aside is the same with other numbers in the tensors."""
    before = [x.data.copy() for x in tensors]
    results = [plainly()]
    for x in tensors:
        x.data[...] = 3.7 - 1.9 * x.data
    results.append(plainly())
    for x, data in zip(tensors, before, strict=True):
        x.data[...] = data
    return all(a or alike(x, y) for a, x, y in zip(aside, *results, strict=True))


def alike(x: Any, y: Any) -> bool:
    """Whether two plain results are the same."""
    numbers = isinstance(x, (np.ndarray, np.generic)) and x.dtype.kind in "fciub"
    return x is y or (
        type(x) is type(y) and (np.array_equal(x, y, equal_nan=x.dtype.kind in "fc") if numbers else repr(x) == repr(y))
    )


def compare(call: Call, got: Any, want: Any) -> None:
    if not isinstance(got, Tensor):
        if not alike(got, want):
            raise Wrong(f"{call}: {got!r}, and not {want!r}")
        return
    want = np.asarray(want)
    if not got.requires_grad:
        raise Wrong(f"{call}: a constant")
    if (got.shape, got.dtype) != (want.shape, want.dtype):
        raise Wrong(f"{call}: {got.dtype} {got.shape}, and not {want.dtype} {want.shape}")
    if not np.allclose(got.data, want, rtol=1e-13, atol=0.0, equal_nan=True):
        raise Wrong(f"{call}: {got.data}, and not {want}")


def holds_no_slope(x: Any) -> bool:
    """Whether numbers are whole or true and false: such a result moves in jumps, its derivative is 0."""
    if isinstance(x, (bool, int, str, slice, np.dtype)) or (isinstance(x, type) and issubclass(x, np.generic)):
        return True
    return isinstance(x, (np.ndarray, np.generic)) and x.dtype.kind in "biu"


def check_slopes(call: Call, nodes: list[Any], tensors: list[Any], plainly: Callable[[], list[Any]]) -> None:
    """The gradient of the weighed sum of all results, against central differences of numpy itself."""
    weights = [1.0 + np.sin(np.arange(x.size) + i).reshape(x.shape) / 2.0 for i, x in enumerate(nodes)]
    total = sum([ops.sum(x * w) for x, w in zip(nodes, weights, strict=True)], Tensor(0.0))

    def weighed() -> float:
        return float(sum([np.sum(x * w) for x, w in zip(plainly(), weights, strict=True)]))

    for t, slope in zip(tensors, autodiff.grad(total, tensors), strict=True):
        for at in np.ndindex(t.shape):
            before = float(t.data[at])
            t.data[at] = before + 1e-6
            above = weighed()
            t.data[at] = before - 1e-6
            below = weighed()
            t.data[at] = before
            difference = (above - below) / 2e-6
            jumps = abs(difference) > 1e4  # as a remainder does, or what is rounded
            if (
                np.isfinite(difference)
                and not jumps
                and not abs(slope[at] - difference) <= 1e-7 * (1.0 + abs(above) + abs(difference))
            ):
                raise Wrong(f"{call}: slope {slope[at]}, and not {difference}")


def recordings(call: Call) -> Iterator[tuple[list[Any], dict[str, Any], list[np.ndarray], bool]]:
    """The call's arguments, and the arrays among them that a step takes: plain ones, and where the call with tensors
    gives an answer, those to be made tensors."""
    for tensors in (False, True):
        args, kwargs = call.arguments()
        arrays: list[Any] = []
        kept = kept_plain(call) - {0} if tensors or call.name.startswith("ndarray.") else ()
        for i, x in [*enumerate(args), *kwargs.items()]:
            if i not in kept:
                dressed(x, "whole", arrays.append)
        if arrays:
            yield args, kwargs, arrays, tensors


def recorded(call: Call, args: list[Any], kwargs: dict[str, Any], arrays: list[np.ndarray], tensors: bool) -> str:
    """What becomes of the call inside a recorded step that takes the arrays, as they are or as tensors: RIGHT where a
    replay on other numbers gives the same bits as Python, or REFUSED. Raises Wrong."""
    f = FUNCTIONS[call.name]

    def step(*given: Any) -> list[Any]:
        of = {id(x): Tensor(y) if tensors else y for x, y in zip(arrays, given, strict=True)}
        inside, named = placed(args, of), placed(kwargs, of)
        return [output(x) for x in parts([f(*inside, **named), inside, *named.values()])]

    compiled = vector.compile(step)
    others = [np.asarray(0.9 * x + 0.01) for x in arrays]
    for values in (arrays, others, arrays):
        try:
            expected = run(step, [x.copy() for x in values], {})
        except Exception:
            if tensors:  # judged by `outcome`
                return REFUSED
            raise
        try:
            got = run(compiled, [x.copy() for x in values], {})
        except (vector.RecordingError, TypeError) as error:
            if re.search(WAY + "|;", str(error)) or isinstance(error, vector.RecordingError):
                return REFUSED
            raise Wrong(f"{call}: recorded: an error that names no way: {error!r}") from error
        except Exception as error:
            if isinstance(error.__cause__, vector.RecordingError):  # numpy tells it in its own words
                return REFUSED
            raise Wrong(f"{call}: recorded: no RecordingError: {error!r}") from error
        for a, b in zip(got, expected, strict=True):
            a, b = (x.data if isinstance(x, Tensor) else x for x in (a, b))
            if not alike(a, b):
                raise Wrong(f"{call}: recorded: {a!r}, and not {b!r}")
    return RIGHT


def placed(x: Any, of: dict[int, Any]) -> Any:
    """`x` with others in place of some of its arrays."""
    if isinstance(x, dict):
        return {key: placed(y, of) for key, y in x.items()}
    if isinstance(x, (list, tuple)):
        return type(x)([placed(y, of) for y in x])
    return of.get(id(x), x)


def output(x: Any) -> Any:
    """What a step can return of a result: numbers as tensors."""
    numbers = isinstance(x, (np.ndarray, np.generic)) and x.dtype.kind in "fiub" and x.dtype.itemsize <= 8
    return Tensor(x.astype(np.float64), requires_grad=False) if numbers else x
