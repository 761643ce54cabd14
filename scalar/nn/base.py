"""What layers share: where their parameters are found, how they are saved, and whether they are in training."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from types import CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple, Self

import numpy as np

from ..autodiff import topological_order
from ..losses import shape as lengths
from ..op import Op
from ..value import Value


class Found(NamedTuple):
    """Something that a layer holds: a parameter, a buffer, a layer, a layer once more, or something else, which may
    hide parameters."""

    kind: str  # "parameter", "buffer", "layer", "again" or "other"
    name: str  # of the attribute, with places and keys of what is in lists and dicts; empty if it has none
    path: str  # the same from the model down
    thing: Any  # a parameter is a Value, or Values in lists
    owner: Layer
    depth: int


class Layer:
    """What can be trained, saved and drawn; a model is a layer that holds others.

    A layer of one's own is a class with `__init__` and `__call__`. Its parameters are the Values in its attributes that
    no op made; lists of one shape are one parameter. They are found, and so are buffers and other layers, in lists,
    tuples and dicts, too, and named by attribute, place and key: "hidden.weight", "layers.0.bias", as soon as they are
    in an attribute; each Value's label says it with its place, "hidden.weight[2,1]". What is shared goes by its first
    name. `training` tells layers that differ in training and evaluation which of the two it is.
    """

    training = True
    __call__: Callable[..., Any]

    def __setattr__(self, name: str, thing: Any) -> None:
        """Set an attribute, and label the parameters in it by its name."""
        object.__setattr__(self, name, thing)
        if holds_values(thing):
            label(
                {each.path: each.thing for each in parts(thing, name, name, self, set(), 1) if each.kind == "parameter"}
            )

    def register_buffer(self, name: str, value: Any) -> None:
        """Hold a number, or numbers in lists, as the attribute `name`, saved with the parameters, but not trained.

        Raises ValueError for a name that is taken or cannot be an attribute's, TypeError for no numbers.
        """
        buffers = vars(self).get("_buffers", ())
        if name not in buffers and (hasattr(self, name) or not name.isidentifier()):
            raise ValueError(f"register_buffer: expected a new name, got {name!r}")
        array = np.asarray(numbers(value))
        if array.dtype.kind not in "fiu":
            raise TypeError(f"register_buffer: {name}: expected a real number, got {array.dtype.name}")
        self._buffers = tuple(dict.fromkeys((*buffers, name)))
        setattr(self, name, array.astype(float).tolist())

    def parameters(self) -> list[Value]:
        """All parameters, each once, in the order in which they are found; those in lists row by row."""
        return [p for nest in self.named().values() for p in flat(nest)]

    def named(self) -> dict[str, Any]:
        """The parameters by name, Values or Values in lists; their labels say that name.

        Raises TypeError for an object or a function that hides parameters, ValueError for two of one name.
        """
        found = list(search(self))
        named = {each.path: each.thing for each in found if each.kind == "parameter"}
        names = [each.path for each in found if each.kind in ("parameter", "buffer")]
        if twice := [name for i, name in enumerate(names) if name in names[:i]]:
            raise ValueError(f"Layer: expected names that differ, got {twice[0]} twice")
        known = {id(p) for nest in named.values() for p in flat(nest)}
        for each in found:
            check_shown(each, known)
        label(named)
        return named

    def state_dict(self) -> dict[str, np.ndarray]:
        """Parameters and buffers by name as float64 arrays: a Dense layer's "weight" is (n_in, n_out)."""
        buffers = {each.path: each.thing for each in search(self) if each.kind == "buffer"}
        return {name: np.array(numbers(nest), np.float64) for name, nest in (self.named() | buffers).items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over the numbers of a state dict of either engine.

        Raises ValueError, and changes nothing, when names or shapes are not this model's; TypeError for no numbers.
        """
        own = self.state_dict()
        if own.keys() != state.keys():
            raise ValueError(f"load_state_dict: expected the names {sorted(own)}, got {sorted(state)}")
        arrays = {name: np.asarray(state[name]) for name in own}
        for name, array in own.items():
            if arrays[name].dtype.kind not in "fiu":
                raise TypeError(f"load_state_dict: {name}: expected a real number, got {arrays[name].dtype.name}")
            if array.shape != arrays[name].shape:
                raise ValueError(f"load_state_dict: {name}: expected shape {array.shape}, got {arrays[name].shape}")
        for each in list(search(self)):
            if each.kind == "parameter":
                for p, x in zip(flat(each.thing), arrays[each.path].astype(float).ravel().tolist(), strict=True):
                    p.data = x
            elif each.kind == "buffer":
                setattr(each.owner, each.name, arrays[each.path].astype(float).tolist())

    def train(self, training: bool = True) -> Self:
        """Set `training` of this layer and of all layers in it. Returns the layer."""
        for each in search(self):
            if each.kind == "layer":
                each.thing.training = training
        return self

    def eval(self) -> Self:
        """Set `training` of this layer and of all layers in it to False. Returns the layer."""
        return self.train(False)

    def _held(self) -> Iterator[tuple[str, Any]]:
        """What is searched, by name."""
        return attributes(self)

    def _details(self) -> str:
        """What stands in brackets behind the layer's name where it is printed."""
        return ""

    def __repr__(self) -> str:
        """The tree of layers, with numbers of parameters, and with the shapes of parameters and buffers."""
        rows, found = [], list(search(self))
        paths = {id(each.thing): each.path for each in found if each.kind == "layer"}
        for i, (kind, name, _, thing, _, depth) in enumerate(found):
            if kind not in ("layer", "again") and (kind != "other" or name):
                continue
            title = f"{name}: {called(thing)}" if name else called(thing)
            title += f"({thing._details()})" if isinstance(thing, Layer) and thing._details() else ""
            end = next((k for k in range(i + 1, len(found)) if found[k].depth <= depth), len(found))
            inside = found[i + 1 : end] if kind == "layer" else []
            count = sum(len(flat(each.thing)) for each in inside if each.kind == "parameter")
            held = [each for each in inside if each.owner is thing and each.kind in ("parameter", "buffer")]
            notes = ", ".join(f"{each.name} {np.shape(numbers(each.thing))}{mark(each)}" for each in held)
            if thing is self and count:
                notes = f"parameters; {notes}" if notes else "parameters"
            notes = f"same as {paths[id(thing)] or 'the whole'}" if kind == "again" else notes
            rows.append((depth, title, f"{count:,}" if count else "", notes))
        return outline(rows)


def search(layer: Layer, name: str = "", path: str = "", seen: Any = None, depth: int = 0) -> Iterator[Found]:
    """The layer, and what it holds. What was `seen` already is shared, and left out."""
    seen = set() if seen is None else seen
    seen.add(id(layer))
    yield Found("layer", name, path, layer, layer, depth)
    buffers = vars(layer).get("_buffers", ())
    for attribute, thing in layer._held():
        below = f"{path}.{attribute}".strip(".")
        if attribute in buffers:
            yield Found("buffer", attribute, below, thing, layer, depth + 1)
        elif attribute != "_buffers":
            yield from parts(thing, attribute, below, layer, seen, depth + 1)


def parts(thing: Any, name: str, path: str, owner: Layer, seen: set[int], depth: int) -> Iterator[Found]:
    """What is found in an attribute."""
    if shape(thing, seen) is not None:
        seen |= {id(p) for p in flat(thing)}
        yield Found("parameter", name, path, thing, owner, depth)
    elif isinstance(thing, Layer):
        again = [Found("again", name, path, thing, owner, depth)]
        yield from again if id(thing) in seen else search(thing, name, path, seen, depth)
    elif isinstance(thing, (list, tuple, dict)) and id(thing) not in seen:
        seen.add(id(thing))
        for key, part in thing.items() if isinstance(thing, dict) else enumerate(thing):
            yield from parts(part, f"{name}.{key}", f"{path}.{key}", owner, seen, depth)
    elif id(thing) not in seen:
        yield Found("other", name, path, thing, owner, depth)


def check_shown(found: Found, known: set[int]) -> None:
    """Raises TypeError for something that holds parameters, none of which are among those known."""
    kind, _, _, thing, owner, _ = found
    where = type(owner).__name__
    if kind == "layer":
        classes = type(thing).__mro__[: type(thing).__mro__.index(Layer)]
        held = [x for each in classes for x in vars(each).values() if isinstance(x, (Value, Layer, list, tuple, dict))]
        if not known.issuperset(map(id, hidden(held))):
            raise TypeError(f"Layer: expected parameters in attributes of the object, got some in the class {where}")
    elif kind == "other" and isinstance(thing, Value) and thing.op:
        leaves = [id(x) for x in topological_order(thing) if x.op is None and x.requires_grad]
        if leaves and known.isdisjoint(leaves):
            raise TypeError(
                f"Layer: expected parameters that no op made, got a result of {thing.op.name} in {where}; "
                f"make a Value of the finished numbers"
            )
    elif kind == "other" and not known.issuperset(map(id, hidden(thing))):
        raise TypeError(
            f"Layer: expected layers that show their parameters, got {called(thing)} in {where}, which hides some; "
            f"make it a subclass of nn.Layer"
        )


def holds_values(thing: Any) -> bool:
    """Whether a thing is a layer or a Value, or holds some in lists, tuples or dicts, as their first elements say."""
    while isinstance(thing, (list, tuple, dict)) and thing:
        inside = list(thing.values()) if isinstance(thing, dict) else thing
        thing = next((x for x in inside if isinstance(x, (Value, Layer))), inside[0])
    return isinstance(thing, (Value, Layer))


def shape(nest: Any, seen: Container[int] = ()) -> tuple[int, ...] | None:
    """The shape of a Value that no op made, or of lists of such; None for anything else, and for what was seen."""
    if isinstance(nest, Value):
        return () if nest.op is None and id(nest) not in seen else None
    if not isinstance(nest, (list, tuple)) or not nest:
        return None
    if all(isinstance(x, Value) and x.op is None and id(x) not in seen for x in nest):
        return (len(nest),)
    first = shape(nest[0], seen)
    same = first and all(shape(part, seen) == first for part in nest)
    return (len(nest), *first) if first and same else None


def hidden(thing: Any) -> Iterator[Value]:
    """The Values that need gradients in an object's attributes, or in what a function closes over, names among its
    globals, or has for defaults."""
    seen: dict[int, Any] = {}
    stack = [thing]
    while stack:
        thing = stack.pop()
        if id(thing) in seen or isinstance(thing, (type, ModuleType, Op, str, int, float, np.ndarray)):
            continue
        seen[id(thing)] = thing
        if isinstance(thing, Value):
            if thing.op is None and thing.requires_grad:
                yield thing
            continue
        stack += [part for _, part in attributes(thing)]
        if isinstance(thing, dict):
            stack += thing.values()
        elif isinstance(thing, (list, tuple, set, frozenset)):
            stack += thing
        elif isinstance(thing, FunctionType):
            stack += [cell.cell_contents for cell in thing.__closure__ or () if cell != CellType()]
            stack += [thing.__globals__[name] for name in names_in(thing.__code__) if name in thing.__globals__]
            stack += [thing.__defaults__, thing.__kwdefaults__]
        elif isinstance(thing, MethodType):
            stack += [thing.__self__, thing.__func__]
        elif isinstance(thing, functools.partial):
            stack += [thing.func, thing.args, thing.keywords]


def names_in(code: CodeType) -> set[str]:
    """The names that a function's code, and that of the functions in it, looks up elsewhere."""
    inner = [names_in(constant) for constant in code.co_consts if isinstance(constant, CodeType)]
    return set(code.co_names).union(*inner)


def attributes(thing: Any) -> Iterator[tuple[str, Any]]:
    """The attributes of an object, in its `__dict__` and in its `__slots__`, by name."""
    yield from list(getattr(thing, "__dict__", {}).items())
    for kind in type(thing).__mro__:
        slots = vars(kind).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            hides = name.startswith("__") and not name.endswith("__")  # as Python calls private names
            name = f"_{kind.__name__.lstrip('_')}{name}" if hides else name
            if name != "__dict__" and hasattr(thing, name):
                yield name, getattr(thing, name)


def called(thing: Any) -> str:
    """What a function or an op is called, or the class of any other object."""
    if isinstance(thing, Layer):
        return type(thing).__name__
    return str(getattr(thing, "__name__", None) or getattr(thing, "name", type(thing).__name__))


def mark(found: Found) -> str:
    frozen = not any(p.requires_grad for p in flat(found.thing) if isinstance(p, Value))
    return " buffer" if found.kind == "buffer" else " frozen" if frozen else ""


def outline(rows: Sequence[tuple[int, str, str, str]]) -> str:
    """A tree as text: for each row its depth, what it is, a number and notes, in columns."""
    titles: list[str] = []
    below: set[int] = set()  # depths at which a sibling follows
    for depth, title, _, _ in reversed(rows):
        trunk = "".join("│  " if k in below else "   " for k in range(1, depth))
        titles.insert(0, trunk + ("├─ " if depth in below else "└─ ") * (depth > 0) + title)
        below = {k for k in below if k < depth} | {depth}
    wide, far = max(map(len, titles)), max(len(number) for _, _, number, _ in rows)
    lines = zip(titles, rows, strict=True)
    return "\n".join(f"{title:{wide}}  {number:>{far}}  {notes}".rstrip() for title, (_, _, number, notes) in lines)


def label(named: Mapping[str, Any]) -> None:
    """Give parameters their names for labels, "0.weight[2,1]", longer ones for shorter, and none for a user's own."""
    for name, nest in named.items():
        places = itertools.product(*map(range, shape(nest) or ()))
        for place, p in zip(places, flat(nest), strict=True):
            text = f"{name}[{','.join(map(str, place))}]" if place else name
            if p.label and not text.endswith(f".{p.label}"):
                break  # of this parameter, all have theirs
            p.label = text


def flat(nest: Any) -> list[Any]:
    """The elements of lists in lists, in order."""
    if not isinstance(nest, (list, tuple)):
        return [nest]
    return [x for part in nest for x in flat(part)] if isinstance(nest[0], (list, tuple)) else list(nest)


def numbers(nest: Any) -> Any:
    """The numbers of Values, or of numbers, in lists."""
    if isinstance(nest, (list, tuple)):
        return [numbers(x) for x in nest]
    return nest.data if isinstance(nest, Value) else nest


def parameter(array: np.ndarray, name: str) -> Any:
    """The numbers of an array as Values in lists, which have the name and their places as labels."""

    def values(nest: Any) -> Any:
        return [values(x) for x in nest] if isinstance(nest, list) else Value(nest)

    nest = values(array.tolist())
    label({name: nest})
    return nest


def samplewise(f: Callable[[Any], Any], xs: Any, depth: int) -> Any:
    """f(xs) for one sample, which is lists in lists, `depth` deep; of a batch, or batches in lists, f of each."""
    return [samplewise(f, x, depth) for x in xs] if depth_of(xs) > depth else f(xs)


def depth_of(nest: Any) -> int:
    """How deep lists in lists are, at their first elements; 0 for what is no list."""
    if isinstance(nest, str) or not hasattr(nest, "__len__"):
        return 0
    return 1 + (depth_of(nest[0]) if len(nest) else 0)


def expect(nest: Any, wanted: Sequence[str | int], where: str) -> None:
    """Raises ValueError for lists in lists that are not of the shape wanted, in which a word is any length from 1."""
    found = lengths(nest, where)
    if len(found) != len(wanted) or not all(
        n if isinstance(m, str) else n == m for n, m in zip(found, wanted, strict=True)
    ):
        raise ValueError(f"{where}: expected shape ({', '.join(map(str, wanted))}), got {found}")
