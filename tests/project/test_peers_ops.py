"""PyTorch's own samples of its ops, as its own suite tries them: value, first and second order agree."""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from torch_arrays import ARRAYS, Unlike, only, sizes

import vector

torch = pytest.importorskip("torch")
pytestmark = [
    pytest.mark.peers,
    pytest.mark.filterwarnings("ignore"),  # PyTorch's own, about itself
]
MOST, CLOSE = 25, 1e-10  # samples of each op; allowed difference, relative and absolute


def unary(name: str) -> Callable[..., Any]:
    def call(x: Any, **more: Any) -> Any:
        only(more)
        return getattr(vector, name)(x)

    return call


def reduced(name: str) -> Callable[..., Any]:
    def call(x: Any, dim: Any = None, keepdim: bool = False, **more: Any) -> Any:
        only(more, dtype=None)
        axes = tuple(dim) if isinstance(dim, (list, tuple)) else dim
        return getattr(vector, name)(x, None if axes == () or not x.ndim else axes, keepdim)  # none are all

    return call


def along(name: str) -> Callable[..., Any]:
    def call(x: Any, dim: Any, **more: Any) -> Any:
        only(more, dtype=torch.float64)
        return getattr(vector, name)(x, axis=dim) if x.ndim else getattr(vector, name)(x.reshape(1)).reshape(())

    return call


def expand(x: Any, *given: Any) -> Any:
    shape = sizes(given)
    own = (*[1] * (len(shape) - x.ndim), *x.shape)
    return vector.broadcast_to(x, tuple(n if m == -1 else m for m, n in zip(shape, own, strict=True)))


def clamp(x: Any, min: Any = None, max: Any = None) -> Any:
    if all(bound is None or isinstance(bound, (int, float)) for bound in (min, max)):
        return vector.clip(x, -math.inf if min is None else min, math.inf if max is None else max)
    x = x if min is None else vector.maximum(x, min)
    return x if max is None else vector.minimum(x, max)


def extreme(name: str) -> Callable[..., Any]:
    def call(x: Any, *others: Any, **more: Any) -> Any:
        if others and isinstance(others[0], vector.Tensor):
            return getattr(vector, f"{name}imum")(x, others[0])
        if others or more:
            raise Unlike("indices as well")
        return getattr(vector, name)(x)

    return call


def cross_entropy(x: Any, target: Any, **more: Any) -> Any:
    only(more, reduction="mean", weight=None, label_smoothing=0.0, ignore_index=-100)
    if x.ndim != 2 or isinstance(target, vector.Tensor):
        raise Unlike("shape")
    return vector.cross_entropy(x, target)


def mse(x: Any, target: Any, **more: Any) -> Any:
    only(more, reduction="mean", size_average=None, reduce=None)
    return vector.mse(x, target)


def linear(x: Any, weight: Any, bias: Any = None) -> Any:
    return x @ weight.T if bias is None else x @ weight.T + bias


def with_factor(f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, y, alpha=1: f(x, y if alpha == 1 else vector.multiply(y, float(alpha)))


def divide(x: Any, y: Any, **more: Any) -> Any:
    only(more, rounding_mode=None)
    return vector.divide(x, y)


def index_select(x: Any, dim: int, index: Any) -> Any:
    return vector.take(x, index, dim) if x.ndim else x.reshape(1)[index].reshape(())


def narrow(x: Any, dim: int, start: Any, length: int) -> Any:
    start = int(start)
    start += x.shape[dim] * (start < 0)
    return x[(slice(None),) * (dim % x.ndim) + (slice(start, start + length),)]


def flattened(x: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    if not x.ndim:
        return x.reshape(1)
    a, b = start_dim % x.ndim, end_dim % x.ndim
    return x.reshape((*x.shape[:a], math.prod(x.shape[a : b + 1]), *x.shape[b + 1 :]))


def swapped(f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, y, alpha=1: f(y, x if alpha == 1 else x * float(alpha))


def gelu(x: Any, approximate: str = "none") -> Any:
    return vector.gelu(x) if approximate == "none" else vector.gelu_tanh(x)


def hardtanh(x: Any, min_val: float = -1.0, max_val: float = 1.0, **more: Any) -> Any:
    only(more, inplace=False)
    return vector.hardtanh(x) if (min_val, max_val) == (-1.0, 1.0) else vector.clip(x, min_val, max_val)


def elu(x: Any, alpha: float = 1.0, **more: Any) -> Any:
    only(more, inplace=False)
    return vector.elu(x, alpha)


def inplace(name: str) -> Callable[..., Any]:
    def call(x: Any, **more: Any) -> Any:
        only({key: bool(value) and key for key, value in more.items()}, inplace="inplace")
        return getattr(vector, name)(x)

    return call


def masked_fill(x: Any, mask: Any, value: Any) -> Any:
    return vector.where(mask, value, x)


def softplus(x: Any, beta: float, threshold: float) -> Any:
    return vector.where(x * beta > threshold, x, vector.softplus(x * beta) / beta)


def addmm(x: Any, y: Any, z: Any, beta: Any = 1, alpha: Any = 1) -> Any:
    return x * float(beta) + (y @ z) * float(alpha)


OURS: dict[str, Callable[..., Any]] = {
    **ARRAYS,
    **{name: unary(name) for name in ("abs", "exp", "log", "sqrt", "sigmoid", "sin", "cos", "tanh", "tan", "sinh")},
    **{name: unary(name) for name in ("cosh", "log1p", "expm1", "log2", "log10", "exp2", "erf", "erfc", "square")},
    **{name: unary(name) for name in ("reciprocal", "sign", "floor", "ceil")},
    **{f"a{name}": unary(f"arc{name}") for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh")},
    **{f"nn.functional.{name}": inplace(name) for name in ("relu", "selu", "silu")},
    **{name: reduced(name) for name in ("sum", "mean", "logsumexp")},
    **{f"a{name}": reduced(name) for name in ("max", "min")},
    **{name: along(name) for name in ("softmax", "log_softmax")},
    **{name: vector.matmul for name in ("matmul", "mm", "mv", "bmm")},
    **{name: extreme(name) for name in ("max", "min")},
    "T": lambda x: x.T,
    "t": lambda x: x.T,
    "mT": lambda x: x.mT,
    "__getitem__": lambda x, key: x[key],
    "__radd__": swapped(vector.add),
    "__rdiv__": swapped(vector.divide),
    "__rmatmul__": swapped(vector.matmul),
    "__rmul__": swapped(vector.multiply),
    "__rpow__": swapped(vector.power),
    "__rsub__": swapped(vector.subtract),
    "add": with_factor(vector.add),
    "addmm": addmm,
    "addmv": addmm,
    "baddbmm": addmm,
    "broadcast_to": lambda x, shape: vector.broadcast_to(x, tuple(shape)),
    "cat": lambda xs, dim=0: vector.concatenate([x for x in xs if x.shape != (0,)] or xs, dim),
    "clamp": clamp,
    "div": divide,
    "dot": vector.dot,
    "expand": expand,
    "expand_as": lambda x, y: expand(x, *y.shape),
    "flatten": flattened,
    "fliplr": lambda x: x[:, ::-1],
    "flipud": lambda x: x[::-1],
    "float_power": vector.power,
    "index_select": index_select,
    "hypot": vector.hypot,
    "atan2": vector.arctan2,
    "logaddexp": vector.logaddexp,
    "masked_fill": masked_fill,
    "maximum": vector.maximum,
    "minimum": vector.minimum,
    "mul": vector.multiply,
    "narrow": narrow,
    "neg": vector.negative,
    "nn.functional.elu": elu,
    "nn.functional.gelu": gelu,
    "nn.functional.hardtanh": hardtanh,
    "nn.functional.cross_entropy": cross_entropy,
    "nn.functional.leaky_relu": lambda x, negative_slope=0.01: vector.leaky_relu(x, float(negative_slope)),
    "nn.functional.linear": linear,
    "nn.functional.mse_loss": mse,
    "nn.functional.softsign": vector.softsign,
    "nn.functional.softmin": lambda x, dim, **more: along("softmax")(-x, dim, **more),
    "nn.functional.softplus": softplus,
    "permute": lambda x, dims: vector.transpose(x, tuple(dims)),
    "pow": vector.power,
    "remainder": vector.mod,
    "reshape": lambda x, *shape: x.reshape(sizes(shape)),
    "reshape_as": lambda x, y: x.reshape(y.shape),
    "rsqrt": lambda x: x**-0.5,
    "rsub": lambda x, y, alpha=1: vector.subtract(y, vector.multiply(x, float(alpha))),
    "select": lambda x, dim, i: x[(slice(None),) * (dim % x.ndim) + (i,)],
    "round": lambda x, decimals=0: vector.round(x, decimals),
    "stack": lambda xs, dim=0: vector.stack(xs, dim),
    "sub": with_factor(vector.subtract),
    "take": lambda x, index: np.take(x, index),
    "true_divide": vector.divide,
    "view": lambda x, *shape: x.reshape(sizes(shape)),
    "view_as": lambda x, y: x.reshape(y.shape),
    "where": lambda x, condition, y: vector.where(condition, x, y),
}


def ours(x: Any, nodes: list[Any]) -> Any:
    """What stands here for an argument of PyTorch's; its tensors that require a gradient are added to `nodes`."""
    if isinstance(x, torch.Tensor):
        array = x.detach().numpy()
        if x.dtype != torch.float64:
            return array
        node = vector.Tensor(array.copy(), requires_grad=x.requires_grad)
        if x.requires_grad:
            nodes.append(node)
        return node
    if isinstance(x, torch.Size):
        return tuple(x)
    return type(x)([ours(part, nodes) for part in x]) if isinstance(x, (list, tuple)) else x


def theirs(x: Any) -> list[Any]:
    """PyTorch's tensors that require a gradient, in the same order."""
    if isinstance(x, torch.Tensor):
        return [x] if x.dtype == torch.float64 and x.requires_grad else []
    return [t for part in x for t in theirs(part)] if isinstance(x, (list, tuple)) else []


def weights(shape: Sequence[int]) -> np.ndarray:
    return 1.0 + np.cos(np.arange(math.prod(shape))).reshape(shape) / 2.0


def whole(out: Any) -> Any:
    """PyTorch's tensor, or several of them in a row, but for those of positions, of which there is none here."""
    if isinstance(out, torch.Tensor):
        return out
    kept = [x for x in out if x.dtype == torch.float64]
    return torch.cat([x.flatten() for x in kept]) if len(kept) == len(out) else kept[0]


def by_torch(f: Callable[[], Any], leaves: list[Any]) -> list[np.ndarray]:
    """Value, slopes and the slopes of the slopes."""

    def slopes(total: Any, create_graph: bool) -> list[Any]:
        if not total.requires_grad:
            return [torch.zeros_like(x) for x in leaves]
        found = torch.autograd.grad(total, leaves, create_graph=create_graph, allow_unused=True)
        return [torch.zeros_like(x) if s is None else s for s, x in zip(found, leaves, strict=True)]

    out = whole(f())
    first = slopes((out * torch.tensor(weights(out.shape))).sum(), True)
    total = sum([(s * torch.tensor(weights(s.shape))).sum() for s in first], torch.zeros((), dtype=torch.float64))
    return [x.detach().numpy(force=True) for x in (out, *first, *slopes(total, False))]


def by_us(f: Callable[[], Any], leaves: list[Any]) -> list[np.ndarray]:
    """The same."""
    out = f()
    out = vector.concatenate(out, None) if isinstance(out, (list, tuple)) else out
    first = vector.grad(vector.sum(out * weights(out.shape)), leaves, create_graph=True)
    total = sum([vector.sum(s * weights(s.shape)) for s in first], vector.Tensor(0.0))
    return [x.data for x in (out, *first)] + vector.grad(total, leaves)


def samples(name: str) -> Iterator[Any]:
    from torch.testing._internal.common_methods_invocations import op_db

    for op in op_db:
        if op.name == name and op.variant_test_name in VARIANTS:
            yield from ((op, x) for x in op.sample_inputs("cpu", torch.float64, requires_grad=True))


VARIANTS = ("", "with_dtype", "no_rounding_mode", "binary", "reduction_no_dim", "unbiased", "list_args", "multiple")
VARIANTS += ("constant", "reflect", "replicate", "circular", "nearest", "bilinear")
VARIANTS += ("decimals_0", "decimals_3", "decimals_neg_3")
counts: dict[str, tuple[int, int, int]] = {}


def compare(name: str) -> tuple[int, int, int]:
    """How many samples agree, how many have no like here, how many are refused. Raises AssertionError."""
    agree = unlike = refused = 0
    for op, sample in itertools.islice(samples(name), MOST):
        nodes: list[Any] = []
        x, args, kwargs = (ours(y, nodes) for y in (sample.input, sample.args, dict(sample.kwargs)))
        kwargs = {key: ours(y, nodes) for key, y in kwargs.items()}
        leaves = theirs([sample.input, *sample.args, *sample.kwargs.values()])
        with np.errstate(all="ignore"):
            try:
                found = by_us(lambda x=x, args=args, kwargs=kwargs: OURS[name](x, *args, **kwargs), nodes)
            except Unlike:
                unlike += 1
                continue
            except ValueError as error:
                assert "at least one element" in str(error), f"{name}: {sample}: {error}"
                refused += 1
                continue
        expected = by_torch(lambda s=sample, op=op: op(s.input, *s.args, **s.kwargs), leaves)
        for order, (a, b) in enumerate(zip(found, expected, strict=True)):
            assert a.shape == b.shape, f"{name}: {sample}: {a.shape}, and not {b.shape}"
            np.testing.assert_allclose(a, b, rtol=CLOSE, atol=CLOSE, err_msg=f"{name}, number {order}: {sample}")
        agree += 1
    return agree, unlike, refused


@pytest.mark.parametrize("name", sorted(OURS))
def test_samples_agree(name: str) -> None:
    agree, unlike, refused = counts[name] = compare(name)
    print(f"{name}: {agree} samples agree, {unlike} ask for more than there is here, {refused} are of nothing")
    assert agree


def test_counts() -> None:
    of = {name: counts.get(name) or compare(name) for name in OURS}
    agree, unlike, refused = map(sum, zip(*of.values(), strict=True))
    print(f"{agree} samples of {len(of)} ops of PyTorch agree; {unlike} have no like here, {refused} are refused")
    assert agree > 500
