"""Steps to record, and what compares them with their recordings."""

import inspect
import itertools
import math
import re
import tracemalloc

import numpy as np
from hypothesis import strategies as st
from judging import SAMPLES, elementwise
from strategies import GUARDED, Lines
from threadpoolctl import threadpool_info

import vector
from vector import nn, optim
from vector.datasets import fashion_mnist_sample
from vector.op import OPS


def same(a, b):
    """Whether two arrays are one: dtype, shape, and every bit but those of a NaN."""
    a, b = np.asarray(a), np.asarray(b)
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    nan = np.isnan(a)
    return bool(((nan & np.isnan(b)) | ((a == b) & (np.signbit(a) == np.signbit(b)))).all())


def leaves(structure):
    """The arrays in tuples, lists and dicts of tensors, arrays and None."""
    if isinstance(structure, dict):
        structure = list(structure.values())
    if isinstance(structure, (tuple, list)):
        return [x for part in structure for x in leaves(part)]
    return [] if structure is None else [np.array(getattr(structure, "data", structure))]


def tensors_of(optimizer):
    """All that an optimizer changes."""
    held = vars(optimizer).values()
    tensors = [t for x in held for t in (x if isinstance(x, list) else [x]) if isinstance(t, vector.Tensor)]
    return [*tensors, *dict.fromkeys([optimizer.rate, *optimizer.rates])]


def compare(make, calls, traces=None, **options):
    """Run `make()` twice, each a step and the tensors to watch, once as it is and once recorded, on the same arguments.
    Results and tensors must be the same after every call. Returns the recorded step."""
    (eager, eager_state), (step, recorded_state) = make(), make()
    step = vector.compile(step, **options)
    for i, args in enumerate(calls):
        before, after = eager(*copied(args)), step(*copied(args))
        expected, got = leaves([before, eager_state]), leaves([after, recorded_state])
        assert len(expected) == len(got)
        for a, b in zip(expected, got, strict=True):
            assert same(a, b), f"call {i}: eager {a!r}\nreplay {b!r}\n{step.program}"
    if traces is not None:
        assert step.traces == traces
    return step


def copied(args):
    """The same arrays in the same layout, for a step that writes into them."""
    return [x.copy(order="K") if type(x) is np.ndarray else x for x in args]


OPTIMIZERS = {
    "sgd": lambda p: optim.SGD(p, 0.1),
    "momentum": lambda p: optim.SGD(p, 0.1, momentum=0.9),
    "nesterov": lambda p: optim.SGD(p, 0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    "weight decay": lambda p: optim.SGD(p, 0.1, weight_decay=0.1),
    "adam": lambda p: optim.Adam(p, 0.05),
    "adam, weight decay": lambda p: optim.Adam(p, 0.05, betas=(0.8, 0.9), eps=1e-6, weight_decay=0.1),
    "adamw": lambda p: optim.AdamW(p, 0.05),
    "amsgrad": lambda p: optim.Adam(p, 0.05, amsgrad=True),
    "rmsprop": lambda p: optim.RMSprop(p, 0.01, momentum=0.5, weight_decay=0.01),
    "adagrad": lambda p: optim.Adagrad(p, 0.1),
    "lion": lambda p: optim.Lion(p, 0.01, weight_decay=0.1),
    "grouped": lambda p: optim.Grouped(optim.SGD(p[:1], 0.1, momentum=0.9), optim.AdamW(p[1:], 0.05)),
}


def moons(rng, n, dtype=np.float64):
    return rng.normal(size=(n, 3)).astype(dtype), rng.integers(0, 4, n)


def classifier(optimizer="sgd", dtype=np.float64, dropout=0.0, seed=0):
    layers = nn.Dense(3, 8, "tanh", seed=seed, dtype=dtype), nn.Dense(8, 4, seed=seed + 1, dtype=dtype)
    model = nn.Sequential(layers[0], nn.Dropout(dropout, seed=2), layers[1])
    return model, OPTIMIZERS[optimizer](model.parameters())


def trainer(optimizer="sgd", dtype=np.float64, dropout=0.0):
    def make():
        model, update = classifier(optimizer, dtype, dropout)

        def step(x, y):
            loss = vector.cross_entropy(model(x), y)
            update.zero_grad()
            loss.backward()
            update.step()
            return loss

        return step, [*model.parameters(), *tensors_of(update)]

    return make


def step_of(model, update):
    def step(x, y):
        loss = vector.cross_entropy(model(x), y)
        update.zero_grad()
        loss.backward()
        update.step()
        return loss

    return step


FLOATS = ["np.float64", "np.float32"]


MORE = [
    *("{} + 1.5", "2.0 - {}", "3.0 * {}", "{} / 2.0", "1.0 / (abs({}) + 0.5)", "{} ** 2", "-{}", "{} * 1.0", "{} / 1"),
    *("np.tanh({})", "1 * {}", "{} + {}", "{} - {}", "{} * {}"),
]


def axis_text(draw, ndim):
    axes = [None, *range(-ndim, ndim)] + [(0, 1)] * (ndim >= 2) + [(-1, 0)] * (ndim >= 2) + [(1,)] * (ndim >= 2)
    return f"axis={draw(st.sampled_from(axes))!r}, keepdims={draw(st.booleans())}"


def key_text(draw, shape):
    def one(n):
        some = f"np.array({[draw(st.integers(-n, n - 1)) for _ in range(draw(st.integers(1, 4)))]})"
        return draw(st.sampled_from([":", "::2", "::-1", str(n - 1), "None, :", "-1:", some]))

    kind = draw(st.integers(0, 4))
    if kind == 1:
        n = draw(st.integers(1, 4))
        return ", ".join(f"np.array({[draw(st.integers(0, k - 1)) for _ in range(n)]})" for k in shape)
    if kind == 2:
        return "..., " + one(shape[-1])
    keys = [one(n) for n in shape[: draw(st.integers(1, len(shape)))]]
    if sum("array" in key for key in keys) > 1:
        keys = [key if "array" not in key else ":" for key in keys]
    return ", ".join(keys)


# Of a matrix x: what is far from singular, and an image of it.
FAR = "(0.1 * tanh({0}) @ tanh({0}).mT + np.diag(np.arange(3.0, len({0}) + 3.0).astype({0}.dtype)))"
IMAGE = "{0}.reshape(1, *{0}.shape, 1)"
PLACES = "((0, 1), (1, 0)), (1, 1), (1, 1)"
MATRICES = {name: f"{name}({FAR})" for name in ("cholesky", "det", "inv")}
MATRICES |= {name: f"{name}({FAR})[1]" for name in ("eigh", "slogdet")}
MATRICES |= {"cofactor": f"OPS['cofactor']({FAR})", "solve": f"solve({FAR}, {{0}})", "norm": "norm({0}, 3, axis=0)"}
MATRICES |= {"qr": f"qr({FAR}).R", "svd": f"svd({FAR}).S"}
IMAGES = {
    "avg_pool": f"avg_pool({IMAGE}, 2, 1, 1)",
    "avg_share": f"OPS['avg_share']({IMAGE}, ({{0}}.shape[0] + 1, {{0}}.shape[1]), (2, 1), (1, 1))",
    "conv": f"conv2d({IMAGE}, {{0}}[:2, :1, None, None], stride=(1, 2))",
    "conv_input": f"conv_transpose2d({IMAGE}, {{0}}[:2, :1, None, None], stride=2)",
    "conv_weight": f"OPS['conv_weight']({IMAGE}, {IMAGE}, (2, 2), {PLACES})",
    "fold": "fold({0}.reshape(1, *{0}.shape, 1, 1, 1), {0}.shape)",
    "max_chosen": f"OPS['max_chosen']({IMAGE}, {IMAGE}.data, {IMAGE}.data, (1, 1), (1, 1))",
    "max_pool": f"max_pool({IMAGE}, (2, 1), 1, (1, 0))",
    "max_share": f"OPS['max_share']({IMAGE}, {IMAGE}.data, {IMAGE}.data, (1, 1), (1, 1))",
    "unfold": f"unfold({IMAGE}, 2, 1, 1)",
}


def call_text(draw, name, shapes):
    """A call of the op on some of the nodes whose shapes these are, or None when none fits."""
    op, names = OPS[name], list(shapes)
    some = [x for x in names if shapes[x] and 0 not in shapes[x]]
    x = draw(st.sampled_from(some)) if some else None
    if name in elementwise():
        given = "".join(f", {key}={draw(st.sampled_from(SAMPLES[key]))!r}" for key in op.defaults if key != "condition")
        text = GUARDED.get(name) or f"{name}({', '.join(['{}'] * len(op.rules))}{given})"
        return "where({} > 0.2, {}, {})" if name == "where" else text
    if x is None:
        return None
    if set(op.defaults) - {"ddof"} == {"axis", "keepdims"}:
        return f"{name}({x}, {axis_text(draw, len(shapes[x]))})"
    if set(op.defaults) - {"eps"} == {"axis"} and not op.over:
        return f"{name}({x}, axis={draw(st.integers(-len(shapes[x]), len(shapes[x]) - 1))})"
    size = math.prod(shapes[x])
    if name == "reshape":
        return f"{x}.reshape({draw(st.sampled_from(divisions(size)))})"
    if name == "transpose":
        return f"transpose({x}, {draw(st.permutations(range(len(shapes[x]))).map(tuple) | st.none())})"
    if name == "broadcast_to":
        return f"broadcast_to({x}, {(2, *shapes[x])})"
    if name == "cast":
        return f"{x}.astype({draw(st.sampled_from(FLOATS))})"
    if name == "index":
        return f"{x}[{key_text(draw, shapes[x]).format(x)}]"
    if name == "scatter":
        n = shapes[x][0]
        return f"OPS['scatter']({x}, np.array({[draw(st.integers(0, 4)) for _ in range(n)]}), {(5, *shapes[x][1:])})"
    if name == "concatenate":
        axis = draw(st.integers(-len(shapes[x]), len(shapes[x]) - 1))
        alike = [y for y in some if len(shapes[y]) == len(shapes[x])]
        fitting = [y for y in alike if np.array_equal(np.delete(shapes[y], axis), np.delete(shapes[x], axis))]
        if draw(st.booleans()):
            return f"stack([{x}, {x} * 2.0], axis={axis})"
        return f"concatenate([{x}, {', '.join(draw(st.sampled_from(fitting)) for _ in range(2))}], axis={axis})"
    if name in MATRICES | IMAGES:
        grids = [y for y in some if len(shapes[y]) == 2]
        return (MATRICES | IMAGES)[name].format(draw(st.sampled_from(grids))) if grids else None
    if name == "matmul":
        pairs = [
            (a, b) for a, b in itertools.product(some, some) if shapes[a][-1] == shapes[b][-2 if shapes[b][1:] else 0]
        ]
        pairs = [(a, b) for a, b in pairs if len(shapes[a]) <= 2 and len(shapes[b]) <= 2]
        return f"{' @ '.join(draw(st.sampled_from(pairs)))}" if pairs else None
    if name == "cross_entropy":
        grids = [y for y in some if len(shapes[y]) == 2]
        if not grids:
            return None
        y = draw(st.sampled_from(grids))
        n, k = shapes[y]
        return f"cross_entropy({y}, np.array({[draw(st.integers(0, k - 1)) for _ in range(n)]}))"
    raise LookupError(f"{name}: write how to call it")


def divisions(size):
    found = [(a, size // a) for a in range(1, size + 1) if size % a == 0]
    return [*found, (size,), (1, size, 1), *((a, 1, -1) for a, _ in found)]


@st.composite
def steps(draw):
    """A step of any ops on inputs x.. and parameters p.., with in-place changes, a backward pass and an update."""
    head, shapes, turned_names, dtype = [], {}, [], draw(st.sampled_from(FLOATS))
    leaves = [f"p{i}" for i in range(draw(st.integers(1, 3)))] + [f"x{i}" for i in range(draw(st.integers(1, 2)))]
    for name in leaves:
        shape = draw(st.sampled_from([(), (3,), (5,), (1,), (2, 1), (1, 5), (4, 5), (5, 4), (2, 4, 5)]))
        turned = draw(st.sampled_from(["{}", "{}", "{}.T", "{}[::-1]"])) if shape else "{}"
        made = turned.format(f"rng.normal(size={shape[::-1] if '.T' in turned else shape}).round(3).astype({dtype})")
        head.append(f"{name} = {made}")
        turned_names += [name] * (turned != "{}")
        shapes[name] = shape
    space = {**vars(vector), "np": np, "OPS": OPS, "rng": np.random.default_rng(0)}
    exec("\n".join(head), space)
    space |= {name: vector.Tensor(space[name]) for name in leaves}
    lines = []
    for i in range(draw(st.integers(1, 8))):
        if draw(st.integers(0, 9)) == 0:
            p = draw(st.sampled_from([name for name in leaves if name[0] == "p"]))
            lines.append(f"{p}.data {draw(st.sampled_from(['+=', '*=']))} 0.5")
            continue
        if draw(st.integers(0, 3)) == 0:
            text = draw(st.sampled_from(MORE))
        else:
            text = call_text(draw, draw(st.sampled_from(sorted(OPS))), shapes)
        if text is None:
            continue
        line = f"v{i} = " + text.format(*(draw(st.sampled_from(list(shapes))) for _ in range(text.count("{}"))))
        try:
            with np.errstate(all="ignore"):
                exec(line, space)
        except ValueError as error:  # shapes that do not go together
            if "expected" not in str(error):
                raise
            continue
        if space[f"v{i}"].size > 300:
            continue
        lines.append(line)
        shapes[f"v{i}"] = space[f"v{i}"].shape
    last = list(shapes)[-draw(st.integers(1, 3)) :]
    seen = [name for name in shapes if name[0] == "v"]
    parameters = [name for name in leaves if name[0] == "p"]
    lines += [
        f"out = {' + '.join(f'sum({x})' for x in last)} + 0.0 * sum({parameters[0]})",
        *(f"{p}.grad = None" for p in parameters if draw(st.integers(0, 3))),
        "out.backward()",
        *(f"{p}.grad *= 0.5" for p in parameters if draw(st.booleans())),
        *(f"{p}.data = {p}.data - 0.01 * {p}.grad"  # a new array, which a replay lays out as the old one was
          if p not in turned_names and draw(st.booleans()) else f"{p}.data -= 0.01 * {p}.grad" for p in parameters),
        f"return [out, {', '.join([*draw(st.lists(st.sampled_from(seen or parameters), max_size=3)), *parameters])}]",
    ]  # fmt: skip
    arguments = ", ".join(name for name in leaves if name[0] == "x")
    wrapped = [f"{name} = Tensor({name})" for name in arguments.split(", ")]

    def whole(lines: list[str]) -> Lines:
        return Lines("", [*head, f"def step({arguments}):", *(f"    {line}" for line in wrapped + lines)])

    try:
        make, (first, *_) = graph(whole(lines))
        with np.errstate(all="ignore"):
            make()[0](*copied(first))
    except RuntimeError as error:  # a parameter moved before a derivative reads it
        assert "was changed after the forward pass" in str(error)
        lines = [line for line in lines if not re.match(r"p\d+\.data [+*]= 0.5", line)]
    return whole(lines)


def beside_each_other(arrays):
    """The same arrays, one after the other in memory as far as they are contiguous, by rows or by columns."""
    flat = np.concatenate([x.ravel("K") for x in arrays])
    starts = np.cumsum([0, *(x.size for x in arrays)])
    moved = []
    for i, x in zip(starts[:-1], arrays, strict=True):
        part = flat[i : i + x.size]
        by_columns = part.reshape(x.shape[::-1]).T if x.flags.f_contiguous else x
        moved.append(part.reshape(x.shape) if x.flags.c_contiguous else by_columns)
    return moved


def graph(lines: Lines):
    """A maker of the step, and arguments for a few calls."""

    def make():
        rng = np.random.default_rng(0)
        names = {**vars(vector), "np": np, "OPS": OPS, "rng": rng}
        exec("\n".join(lines.lines), names)
        parameters = [name for name in names if name[0] == "p" and name[1:].isdigit()]
        arrays = beside_each_other([names[name] for name in parameters])
        names |= {name: vector.Tensor(x, name) for name, x in zip(parameters, arrays, strict=True)}
        return names["step"], [names[name] for name in parameters]

    step, _ = make()
    first = [step.__globals__[name] for name in inspect.signature(step).parameters]
    return make, [[x * scale for x in map(np.asarray, first)] for scale in (1.0, 0.7, -1.3, 1.0)]


def resident():
    """Bytes of this process in memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


def traced_growth(run, times):
    """How many bytes Python holds more after `run(times)`, when it has run a little before."""
    run(times // 10)
    tracemalloc.start()
    try:
        run(times // 10)
        before = tracemalloc.get_traced_memory()[0]
        run(times)
        return tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()


def always(experience):
    experience.shared = True
    return True


DATA = fashion_mnist_sample()


def model_of(dtype=np.float32, dropout=0.0):
    layers = nn.Dense(784, 16, "relu", seed=0, dtype=dtype), nn.Dense(16, 10, seed=1, dtype=dtype)
    return nn.Sequential(nn.Flatten(), layers[0], nn.Dropout(dropout, seed=2), layers[1])


def train(compile, optimizer="sgd", dtype=np.float32, dropout=0.0, **options):
    model = model_of(dtype, dropout)
    update = OPTIMIZERS[optimizer](model.parameters())
    options = {"epochs": 2, "batch_size": 96, "seed": 3, **options}  # 800 images: the last batch has 32
    history = model.fit(DATA.train_images, DATA.train_labels, update, compile=compile, **options)
    return model, update, history


def blas():
    return [(info["filepath"], info["num_threads"]) for info in threadpool_info() if info["user_api"] == "blas"]
