"""Data that changes between the forward and the backward pass: an error where the gradient would be wrong, and only
there; the same in both engines, however the change is made."""

import gc
import itertools
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from judging import elementwise, params_of, sequence_ops
from mistakes import alike

import scalar
import vector
from scalar.op import Op as scalar_Op
from vector.op import Op as vector_Op

CHANGED = "was changed after the forward pass, and the derivative reads it; call backward() before changing data"


def refused(*words):
    return pytest.raises(RuntimeError, match="".join(f"(?=.*{re.escape(word)})" for word in (*words, CHANGED)))


# --- what a rule reads ------------------------------------------------------------------------------------------------


def points(n):
    rng = np.random.default_rng(n)
    return [rng.uniform(0.3, 0.9, n + 2).tolist() for _ in range(4)]


def moved(op, n, params, needed, place, call):
    """Whether some needed derivative moves with the number at a place of (*inputs, out), all others as they are."""
    for numbers in points(n):
        slopes = []
        for change in (0.0, 0.7, -0.7):
            xs = [x + change * (i == place) for i, x in enumerate(numbers)]
            with np.errstate(all="ignore"):
                found = call(op, xs[n + 1], xs[n], xs[:n], params, needed)
            slopes.append([repr(float(s)) for s, need in zip(found, needed, strict=True) if need])
        if len(set(map(tuple, slopes))) > 1:
            return True
    return False


def by_number(op, g, out, xs, params, needed):
    return op.gradients(g, out, xs, params, needed)


def by_array(op, g, out, xs, params, needed):
    return op.gradients(np.array(g), np.array(out), [np.array(x) for x in xs], params, needed)


@pytest.mark.parametrize("call", [by_number, by_array])
@pytest.mark.parametrize("name", elementwise())
def test_what_the_rules_say_they_read_is_what_moves_them(name, call):
    op = (scalar if call is by_number else vector).ops.OPS[name]
    n = len(op.rules)
    for needed in itertools.product([False, True], repeat=n):
        read = {
            place
            for params in params_of(op)
            for place in range(n + 1)
            if moved(op, n, params, needed, place, call) or moved(op, n, params, needed, place, signs(call))
        }
        if name == "power":  # y decides about its own derivative only where x is 0
            read |= {1} if needed[1] else set()
        assert read == set(saves(op, needed)), needed


def saves(op, needed):
    return (op.saves if hasattr(op, "saves") else op.read_by)(needed)


def signs(call):
    """The same on numbers of both signs, for derivatives that go by comparisons."""
    return lambda op, g, out, xs, params, needed: call(op, g, out - 0.6, [4.0 * x - 2.4 for x in xs], params, needed)


@pytest.mark.parametrize("name", sequence_ops())
def test_what_the_rules_over_sequences_say_they_read(name):
    op = scalar.ops.OPS[name]
    for needed in itertools.product([False, True], repeat=4):
        read = {
            place
            for place in range(5)
            if any(moved(op, 4, op.defaults, needed, place, call) for call in (by_number, tied))
        }
        saved = set(saves(op, needed))
        assert read == saved if all(needed) else read <= saved, needed


def tied(op, g, out, xs, params, needed):
    xs = [round(x) for x in xs]
    return op.gradients(g, round(out), xs, params, needed)


# --- the same error in both engines -----------------------------------------------------------------------------------

CASES = {
    "multiply": (lambda E, x, y: x * y, "x", "multiply: input 0, 'x', "),
    "the other factor": (lambda E, x, y: x * y, "y", "multiply: input 1, 'y', "),
    "divide": (lambda E, x, y: x / y, "y", "divide: input 1, 'y', "),
    "power": (lambda E, x, y: x**y, "x", "power: input 0, 'x', "),
    "sin": (lambda E, x, y: E.sin(x) + y, "x", "sin: input 0, 'x', "),
    "tanh, result": (lambda E, x, y: result(E.tanh(x)) + y, "r", "tanh: the result, 'r', "),
    "exp, result": (lambda E, x, y: result(E.exp(x)) * 2.0 + y, "r", "exp: the result, 'r', "),
    "inside": (lambda E, x, y: result(x + y) * x, "r", "multiply: input 0, 'r', "),
    "maximum": (lambda E, x, y: E.maximum(x, y), "x", "maximum: input 0, 'x', "),
    "no label": (lambda E, x, y: result(x + y, "") * x, "r", "multiply: input 0 was changed"),
    "add": (lambda E, x, y: x + y, "x", None),
    "subtract": (lambda E, x, y: x - y, "y", None),
    "a numerator": (lambda E, x, y: x / y, "x", None),
    "sin, result": (lambda E, x, y: result(E.sin(x)) + y, "r", None),
    "tanh": (lambda E, x, y: E.tanh(x) + y, "x", None),
    "sum": (lambda E, x, y: E.sum(x) + y, "x", None),
    "what nobody needs": (lambda E, x, y: x.detach() * result(y * 1.0), "r", None),
    "a number": (lambda E, x, y: x * 2.0 + y, "x", None),
}
MADE = {}


def result(node, label="r"):
    MADE["r"], node.label = node, label
    return node


WAYS = {
    "assigned": lambda node: setattr(node, "data", 0.25),
    "in place": lambda node: setattr(node, "data", node.data + 0.25),
    "with +=": lambda node: exec("node.data += 0.25", {"node": node}),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case[2]])
def test_a_wrong_gradient_is_refused(name, way):
    def mistake(E, N, A):
        f, what, _ = CASES[name]
        x, y = N(0.5, "x"), N(1.5, "y")
        out = f(E, x, y)
        WAYS[way]({"x": x, "y": y, **MADE}[what])
        out.backward()

    alike(mistake, RuntimeError, "backward: ", CASES[name][2], CHANGED)


def slopes(engine, node, f, change):
    x, y = node(0.5, "x"), node(1.5, "y")
    if engine is scalar and f is CASES["sum"][0]:
        out = scalar.sum([x]) + y
    else:
        out = f(engine, x, y)
    change({"x": x, "y": y, **MADE})
    out.backward()
    return [float(x.grad), float(y.grad)]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if not case[2]])
def test_a_right_gradient_is_given(name, way):
    f, what, _ = CASES[name]
    found = [
        slopes(engine, node, f, change)
        for engine, node in ((scalar, scalar.Value), (vector, vector.Tensor))
        for change in (lambda nodes: None, lambda nodes: WAYS[way](nodes[what]))
    ]
    assert found == [found[0]] * 4


ENGINES = {"scalar": (scalar, scalar.Value), "vector": (vector, vector.Tensor)}


@pytest.fixture(params=ENGINES)
def engine(request):
    return ENGINES[request.param]


def test_a_change_that_changes_nothing(engine):
    """The same number again, and NaN for NaN."""
    for number in (0.5, float("nan"), float("inf"), -0.0):
        _, node = engine
        x = node(number)
        out = x * x
        with np.errstate(all="ignore"):
            x.data = 7.0
            x.data = number + 0.0 if number else number
            out.backward()
        assert np.array_equal(float(x.grad), 2.0 * number, equal_nan=True)


def test_the_sign_of_a_zero_is_a_change(engine):
    _, node = engine
    x = node(0.0)
    out = x * x
    x.data = -0.0
    with refused("multiply: input 0"):
        out.backward()


def test_a_second_backward_after_a_step(engine):
    """Reads the parameters that the step changed: refused. A loss that reads none goes on."""
    module, node = engine
    w, v = node(0.5, "w"), node(2.0, "v")
    out, straight = module.tanh(w * v), w * 2.0 + v
    for root in (out, straight):
        root.backward()
    module.optim.SGD([w, v], 0.1).step()
    with refused("multiply: input 0, 'w'"):
        out.backward()
    straight.backward()
    module.tanh(w * v).backward()


def test_micrograds_own_loop(engine):
    _, node = engine
    p = node(3.0)
    for _ in range(3):
        loss = (p - 1.0) ** 2
        p.grad = 0
        loss.backward()
        p.data += -0.1 * p.grad
    assert float(p.data) == pytest.approx(1.0 + 2.0 * 0.8**3)


def test_second_derivatives(engine):
    module, node = engine
    x = node(0.5, "x")
    slope = module.grad(module.sin(x) * x, x, create_graph=True)
    x.data = 0.7
    with refused(), np.errstate(all="ignore"):
        slope.backward()
    out = x * x
    x.data = 0.9
    with refused("multiply: input 0, 'x'"):
        module.grad(out, x, create_graph=True)


def test_a_constant_beside_a_parameter(engine):
    """The product's derivative by w reads x alone: w may move, x may not."""
    _, node = engine
    x, w = node(2.0, "x", requires_grad=False), node(0.5, "w")
    out = x * w
    w.data = 0.7
    out.backward()
    assert float(w.grad) == 2.0
    x.data = 3.0
    with refused("multiply: input 0, 'x'"):
        out.backward()


def test_the_dot_product_reads_crosswise():
    for place, refuses in enumerate([True, True, False, False]):
        xs = [scalar.Value(1.0 + i, f"x{i}", requires_grad=i > 1) for i in range(4)]
        out = scalar.dot(xs[:2], xs[2:])
        xs[place].data = 9.0
        if refuses:
            with refused(f"dot: input {place}, 'x{place}'"):
                out.backward()
        else:
            out.backward()


# --- arrays: changed unseen -------------------------------------------------------------------------------------------

GRID = np.arange(6.0).reshape(2, 3) + 0.5


def write(array):
    array[0, 1] += 1e-9


def swap(array):
    array[0, [0, 1]] = array[0, [1, 0]]


def base_of_a_view():
    whole = np.zeros((4, 6))
    part = whole[::2, ::2]
    part[...] = GRID
    return whole, vector.Tensor(part, "x")


UNSEEN = {
    "the array it was made of": lambda: (lambda a: (a, vector.Tensor(a, "x")))(GRID.copy()),
    "its .data": lambda: (lambda t: (t.data, t))(vector.Tensor(GRID.copy(), "x")),
    "the base of a view": base_of_a_view,
    "a view of the array": lambda: (lambda a: (a[:, ::-1], vector.Tensor(a, "x")))(GRID.copy()),
    "another tensor of the array": lambda: (lambda a: (vector.Tensor(a).data, vector.Tensor(a, "x")))(GRID.copy()),
    "a tensor of the tensor": lambda: (lambda t: (vector.Tensor(t).data, t))(vector.Tensor(GRID.copy(), "x")),
    "a list": lambda: (lambda t: (t.data, t))(vector.Tensor(GRID.tolist(), "x")),
    "float32": lambda: (lambda a: (a, vector.Tensor(a, "x")))(GRID.astype(np.float32)),
}


@pytest.mark.parametrize("change", [swap, lambda a: a.fill(9.0), lambda a: np.negative(a, out=a)])
@pytest.mark.parametrize("way", UNSEEN)
def test_a_write_to_an_array(way, change):
    array, x = UNSEEN[way]()
    out = vector.sum(x * x)
    before = array.copy()
    change(array)
    with refused("multiply: input 0, 'x'"):
        out.backward()
    array[...] = before
    out.backward()
    assert np.array_equal(x.grad, 2.0 * x.data)


def test_the_smallest_change_is_seen():
    a = np.linspace(0.0, 1.0, 10_000)
    out = vector.sum(vector.sin(vector.Tensor(a, "x")))
    a[4321] = np.nextafter(a[4321], 2.0)
    with refused("sin: input 0, 'x'"):
        out.backward()


# Results: `h` is what a derivative reads; each way gets hold of its memory, before or after it is read.
HANDLES = {
    ".data": lambda h: h.data,
    "a reshaped view": lambda h: h.reshape(3, 2).data,
    "a transposed view": lambda h: h.T.data,
    "an index view": lambda h: h[:, ::-1].data,
    "a view of a view": lambda h: h.T[1:].reshape(2, 2).data,
    "detached": lambda h: h.detach().data,
    "a detached view": lambda h: h.T.detach().data,
    "broadcast": lambda h: vector.broadcast_to(h, (2, 2, 3)).data.base,
}


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("way", HANDLES)
def test_a_write_to_a_result(way, early):
    x = vector.Tensor(GRID.copy(), "x")
    h = vector.tanh(x)
    array = HANDLES[way](h) if early else None
    out = vector.sum(h * h)
    array = HANDLES[way](h) if array is None else array
    array = array if array.flags.writeable else h.data
    before = array.copy()
    out.backward()
    array[...] = 7.0
    with refused(": input 0 was" if early else "multiply: input 0 was"):
        out.backward()
    array[...] = before
    out.backward()
    assert np.allclose(x.grad, 2 * 2.0 * h.data * (1.0 - h.data**2))


def test_a_view_is_changed_with_its_base_only_where_it_looks():
    x = vector.Tensor(GRID.copy())
    h = x + 0.0
    row = h[1]
    out = vector.sum(row * row)
    h.data[0] = 9.0
    out.backward()
    assert np.array_equal(x.grad, [[0.0] * 3, (2.0 * GRID[1]).tolist()])
    h.data[1, 2] = 9.0
    with refused("multiply: input 0"):
        out.backward()


def test_a_result_may_change_before_it_is_read():
    """add's derivative does not care, and what comes after works with the new numbers."""
    x = vector.Tensor(GRID.copy())
    h = x + 1.0
    h.data[...] = 3.0
    vector.sum(h * h).backward()
    assert np.array_equal(x.grad, np.full((2, 3), 6.0))


def test_a_result_that_gets_another_array():
    x = vector.Tensor(GRID.copy())
    h = vector.tanh(x)
    out = vector.sum(h)
    kept = h.data
    h.data = kept.copy()
    out.backward()
    h.data = kept[:, :1]
    with refused("tanh: the result"):
        vector.grad(out, x)


def test_a_plain_array_in_an_expression_counts_as_it_was():
    x, a = vector.Tensor(GRID.copy()), GRID.copy()
    out = vector.sum(x * a) + vector.sum(a @ x.T)
    expected = vector.grad(out, x)
    a.fill(9.0)
    assert np.array_equal(vector.grad(out, x), expected)


def test_layouts_stay():
    """A copy is laid out as its array was, so that products round the same."""
    rng = np.random.default_rng(0)
    a, w = rng.normal(size=(70, 30)).T, rng.normal(size=(70, 20))
    one, two = vector.Tensor(w), vector.Tensor(w.copy())
    vector.sum(vector.Tensor(a, requires_grad=False) @ one).backward()
    vector.sum(a @ two).backward()
    assert np.array_equal(one.grad, two.grad)


def test_no_grad_and_replays_keep_nothing():
    x = vector.Tensor(GRID.copy())
    with vector.no_grad():
        out = vector.tanh(x * x)
    assert not out.saved and not out.memory


def test_a_network_after_its_optimizer():
    """The first layer's weights are read by nobody when the batch is constant; the second's are."""
    model = vector.nn.Sequential(vector.nn.Dense(3, 4, "tanh", seed=0), vector.nn.Dense(4, 2, seed=1))
    optimizer = vector.optim.Adam(model.parameters(), 0.1)
    loss = vector.cross_entropy(model(GRID), [0, 1])
    loss.backward()
    first = model.layers[0].weight.data.copy()
    model.layers[0].weight.data[...] = 0.0
    loss.backward()
    model.layers[0].weight.data[...] = first
    optimizer.step()
    with refused("matmul: input 1, '1.weight'"):
        loss.backward()


@given(st.data())
def test_any_view_of_any_memory(data):
    """A chain of views of a result; one of them is written to, another is read: refused exactly where the read one's
    numbers change."""
    x = vector.Tensor(np.arange(24.0).reshape(2, 3, 4))
    views = [x + 0.0]
    for _ in range(data.draw(st.integers(1, 4))):
        v = data.draw(st.sampled_from(views))
        kind = data.draw(st.sampled_from(["T", "reshape", "slice", "step", "detach"]))
        views.append(
            {
                "T": lambda v=v: v.T,
                "reshape": lambda v=v: v.reshape(-1),
                "slice": lambda v=v: v[:1],
                "step": lambda v=v: v[::-1],
                "detach": lambda v=v: v.detach(),
            }[kind]()
        )
    early = data.draw(st.booleans())
    target, read = data.draw(st.sampled_from(views)), data.draw(st.sampled_from(views))
    handle = target.data if early else None
    out = vector.sum(read * read)
    before = read._data.copy()
    (target.data if handle is None else handle)[(0,) * target.ndim] = 100.0
    if not out.requires_grad:  # what was read is detached
        return
    if np.array_equal(before, read._data):
        out.backward()
    else:
        with refused("multiply: input 0"):
            out.backward()


# --- recorded steps ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        "w.data += 1.0",
        "w.data = w.data + 1.0",
        "w.data[0] = 7.0",
        "np.negative(h.data, out=h.data)",
        "h.data = h.data + 1.0",
    ],
)
@pytest.mark.parametrize("compiled", [False, True])
def test_inside_a_recorded_step(change, compiled):
    w = vector.Tensor(GRID.copy(), "w")

    def step(x):
        h = vector.tanh(x * w)
        out = vector.sum(h * w)
        exec(change, {"w": w, "h": h, "np": np})
        out.backward()
        return out

    with refused("multiply: input " if change[0] == "w" else ": "):
        (vector.compile(step) if compiled else step)(GRID)


def test_a_graph_from_before_a_recorded_step():
    """The step's replays write into the parameters; a graph from before must not use the new numbers."""
    for numbers in (GRID.copy(), GRID.tolist()):
        w = vector.Tensor(numbers, "w")
        old = vector.sum(w * w)

        @vector.compile
        def step(x, w=w):
            loss = vector.sum(x * w)
            w.grad = None
            loss.backward()
            w.data -= 0.1 * w.grad
            return loss

        for _ in range(2):
            step(GRID)
            with refused("multiply: input 0, 'w'"):
                old.backward()


def test_marks_go_with_the_graph():
    gc.collect()
    gc.disable()
    try:
        x = vector.Tensor(GRID.copy())
        h = vector.tanh(x)
        _ = h.T.data
        out = vector.sum(h * h)
        out.backward()
        del x, h, _, out
        assert gc.collect() == 0
    finally:
        gc.enable()


@pytest.mark.parametrize("then, now", [(2.0, np.nan), (np.nan, 2.0), (0.0, -0.0), (-0.0, 0.0), (np.nan, -np.nan)])
def test_numbers_that_compare_otherwise(then, now):
    """NaN is no change from NaN, but from any number; 0 and -0 are two."""
    for node in (scalar.Value, vector.Tensor):
        x = node(then)
        out = x * x
        x.data = now if node is scalar.Value else np.array(now)
        if now != now and then != then:
            out.backward()
        else:
            with refused("multiply", "input 0"):
                out.backward()


def test_only_ops_whose_derivatives_read_their_inputs_remember_them():
    free = {"add", "subtract", "negative", "exp", "sqrt", "sigmoid", "tanh", "relu", "where", "sum", "mean"}
    free |= {"arccosh", "cbrt", "exp2", "reciprocal", "tan", "sign", "floor", "ceil", "round"}
    assert {name for name, op in scalar.ops.OPS.items() if not op.reads_inputs} == free


def test_an_op_that_stands_in_no_table():
    def f(x, y):
        return x * x * y

    for node, Op in ((scalar.Value, scalar_Op), (vector.Tensor, vector_Op)):
        op = Op(f, (lambda g, out, x, y: g * (2.0 * x * y), lambda g, out, x, y: g * x * x))
        for i in range(2):
            x, y = inputs = node(2.0), node(3.0, requires_grad=False)
            out = op(x, y)
            inputs[i].data = inputs[i].data + 1.0
            with refused("f", f"input {i}"):
                out.backward()
