"""Every function of numpy's public namespace, and calls of it that numpy itself answers: what a sweep goes through.

The calls are found by trying: each parameter gets everything in `POOL`, and what plain arrays go through is a call.
"""

import inspect
import io
import itertools
import operator
import types
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

RNG = np.random.default_rng(0)
GRID = (
    np.arange(9.0).reshape(3, 3) / 16.0 + 0.25 + np.eye(3) * 0.34375
)  # positive, no two alike, a matrix with an inverse
POOL: dict[str, Callable[[], Any]] = {
    "grid": lambda: GRID.copy(),
    "vector": lambda: np.array([0.75, 0.25, 0.5]),
    "number": lambda: np.array(0.625),
    "pair": lambda: [GRID.copy(), GRID[::-1] / 2.0],
    "rows": lambda: [np.array([0.75, 0.25, 0.5]), np.array([0.125, 0.875, 0.375])],
    "ints": lambda: np.array([1, 2, 0]),
    "mask": lambda: GRID > 0.5,
    "masks": lambda: [GRID > 0.5, GRID < 0.25],
    "half": lambda: 0.5,
    "0": lambda: 0,
    "1": lambda: 1,
    "2": lambda: 2,
    "axes": lambda: (0, 1),
    "shape": lambda: (3, 3),
    "dtype": lambda: np.float64,
}
SPECIAL: dict[str, Callable[[], Any]] = {
    "product": lambda: "ij,jk->ik",
    "function": lambda: lambda *xs: xs[0] * 2.0,
    "file": io.BytesIO,
}
TAKES = {"einsum": "product", "apply_": "function", "piecewise": "function", "save": "file"}  # by how their names begin
OPTIONS: dict[str, Callable[[], Any]] = {
    **{key: POOL[key] for key in ("grid", "vector", "number", "mask", "ints", "half", "0", "1", "axes")},
    "-1": lambda: -1,
    "minus_axes": lambda: (-1, -2),
    "true": lambda: True,
    "false": lambda: False,
    "none": lambda: None,
    "float32": lambda: np.float32,
    "fortran": lambda: "F",
    "wrap": lambda: "wrap",
    "reflect": lambda: "reflect",
    "result": lambda: None,  # an array for out=, like the result
}
# Functions of numpy's own state and of its documentation: these take no array, or only to print what it is.
ASIDE = {"errstate", "info", "printoptions", "set_printoptions", "setbufsize", "seterr", "seterrcall", "test"}
ASIDE |= {"mintypecode", "show_config", "show_runtime"}
UNDEFINED = {"empty", "empty_like"}  # whatever was in memory
TO_FILES = {"dump", "tofile"}
CLASSES = ["broadcast", "float32", "float64", "matrix", "ndenumerate", "nditer", "poly1d"]  # that are made of arrays
BINARY = (
    "add and_ floordiv matmul mod mul pow sub truediv iadd iand ifloordiv imatmul imod imul ipow isub itruediv".split()
)
BINARY += "eq ge gt le lt ne contains getitem".split()
NO_AXIS = {("axis", "true"), ("axis", "false")}  # numpy takes these for 1 and 0
WITH_METHODS = ("add", "maximum", "hypot")
METHODS = ("accumulate", "at", "outer", "reduce", "reduceat")


FEW = ("grid", "ints", "mask", "half", "0", "1")  # for the places that may stay empty


class Call(NamedTuple):
    """A call as names of what is in the pools."""

    name: str
    args: tuple[str, ...]
    kwargs: tuple[tuple[str, str], ...] = ()

    def arguments(self) -> tuple[list[Any], dict[str, Any]]:
        """New arguments."""
        args, kwargs = [made(x) for x in self.args], {key: made(x) for key, x in self.kwargs}
        if "out" in kwargs:  # numpy 2.4 crashes over some that do not fit
            kwargs["out"] = np.zeros_like(answer(self._replace(kwargs=())))
        return args, kwargs

    def __str__(self) -> str:
        return f"{self.name}({', '.join([*self.args, *(f'{k}={v}' for k, v in self.kwargs)])})"


def made(key: str) -> Any:
    return {**POOL, **SPECIAL, **OPTIONS}[key]()


def functions() -> dict[str, Callable[..., Any]]:
    """The public functions of numpy by name, those of linalg and fft among them, and whatever else takes arrays: the
    methods of ufuncs and of arrays."""
    found: dict[str, Callable[..., Any]] = {}
    for module, prefix in ((np, ""), (np.linalg, "linalg."), (np.fft, "fft.")):
        for name in dir(module):
            f = getattr(module, name)
            if (
                callable(f)
                and not isinstance(f, (type, types.ModuleType))
                and name not in ASIDE | UNDEFINED
                and name[0] != "_"
            ):
                found[prefix + name] = f
    found |= {f"{name}.{method}": getattr(getattr(np, name), method) for name in WITH_METHODS for method in METHODS}
    found |= {name: getattr(np, name) for name in CLASSES}
    found |= {f"{name}[]": getattr(np, name).__getitem__ for name in ("c_", "r_")}
    found |= {f"operator.{name}": getattr(operator, name) for name in BINARY} | {"divmod()": divmod}
    found["operator.setitem"] = operator.setitem
    for name in dir(np.ndarray):
        if callable(getattr(np.ndarray, name)) and name[0] != "_" and name not in TO_FILES:
            found[f"ndarray.{name}"] = method_of(name)
    return found


def method_of(name: str) -> Callable[..., Any]:
    """An array's method as a function of whatever has it."""

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        return getattr(self, name)(*args, **kwargs)

    method = getattr(np.ndarray, name)
    if says(method):
        setattr(call, "__signature__", inspect.signature(method))  # noqa: B010
    return call


def says(f: Callable[..., Any]) -> bool:
    """Whether a function says what it takes."""
    try:
        return bool(inspect.signature(f))
    except ValueError:
        return False


FUNCTIONS = functions()
UNSIGNED = {name for name, f in FUNCTIONS.items() if not says(f)}  # those that do not say what they take


def answer(call: Call) -> Any:
    """What numpy gives for plain arrays."""
    args, kwargs = call.arguments()
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return FUNCTIONS[call.name](*args, **kwargs)


def answered(call: Call) -> bool:
    """Whether numpy answers, and there is an array of floats among the arguments."""
    try:
        answer(call)
    except Exception:  # whatever numpy says to what makes no sense
        return False
    return True


def calls(name: str, together: int = 1) -> Iterator[Call]:
    """Calls of a function that numpy answers: each parameter that must be given as every kind of array it takes, the
    next ones by their place as some, and as many of these `together` in every combination."""
    required, _, most = parameters(name)
    pool = [*POOL, *(key for start, key in TAKES.items() if name.startswith(start))]
    many = [pool] * (len(required) or most)
    seen: set[Any] = set()
    for n in range(len(required), most + 1):
        for args in itertools.product(*([*many[:3], *[FEW] * n][:n])):
            places = {(n, some) for some in itertools.combinations(enumerate(args), min(n, together))}
            if any(key in FLOATS for key in args) and not places <= seen and answered(call := Call(name, args)):
                seen |= places
                yield call


def with_options(call: Call) -> Iterator[Call]:
    """The call by names, and with each option, one at a time."""
    required, options, _ = parameters(call.name)
    if all(p.kind is p.POSITIONAL_OR_KEYWORD for p in required) and len(required) == len(call.args):
        yield Call(call.name, (), tuple((p.name, key) for p, key in zip(required, call.args, strict=True)))
    for p in options:
        keys = ["result"] if p.name == "out" else [k for k in OPTIONS if (p.name, k) not in NO_AXIS]
        for key in keys:
            if p.kind is not p.POSITIONAL_ONLY and answered(more := call._replace(kwargs=((p.name, key),))):
                yield more


def parameters(name: str) -> tuple[list[inspect.Parameter], list[inspect.Parameter], int]:
    """The parameters that must be given, the options, and how many arguments by position to try."""
    if name in UNSIGNED:
        return [], [], 3
    every = list(inspect.signature(FUNCTIONS[name]).parameters.values())
    single = [p for p in every if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    required = [p for p in single if p.default is p.empty]
    if not required and single:  # all are options: try the first
        required = [p for p in single[:1] if p.kind is not p.KEYWORD_ONLY]
    by_place = [p for p in single if p.kind is not p.KEYWORD_ONLY]
    most = 3 if len(single) < len(every) else min(3, len(by_place))
    return required, [p for p in single if p not in required], max(len(required), most)


def holds_floats(x: Any) -> bool:
    if isinstance(x, (list, tuple)):
        return any(map(holds_floats, x))
    return isinstance(x, np.ndarray) and x.dtype == np.float64


FLOATS = {key for key, make in POOL.items() if holds_floats(make())}
