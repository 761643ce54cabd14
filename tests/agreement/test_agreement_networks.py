"""Random small networks through both engines: loss, gradients, Hessian-vector products, steps of every optimizer."""

import numpy as np
import pytest
from bounds import close, errors, slopes
from engines import compare, flat, undecided
from hypothesis import assume, given
from hypothesis import strategies as st
from judging import same
from networks import OPTIMIZERS
from strategies import ACTIVATIONS, Lines, networks, part

import scalar
import vector

VECTOR = {**vars(vector), "node": vector.Tensor, "predict": lambda model, x: model(x)}
SCALAR = {
    **vars(scalar),
    "node": lambda rows: [[scalar.Value(x) for x in row] for row in rows],
    "predict": lambda model, x: [model(row) for row in x],
}


def through_both(lines: Lines) -> None:
    """Loss, every gradient, and the Hessian times a vector, within the bound."""
    with np.errstate(all="ignore"):
        slow, fast = lines.run(SCALAR), lines.run(VECTOR)
        assume(np.isfinite(slow["loss"].data))
        slow_inputs = [*slow["model"].parameters(), *flat(slow["x"])]
        fast_inputs = [*fast["model"].parameters(), fast["x"]]
        slow_slopes = slopes(scalar, slow["loss"], slow_inputs)
        fast_slopes = slopes(vector, fast["loss"], fast_inputs)
        v = np.random.default_rng(0).normal(size=len(slow_inputs)).round(2)
        along = np.split(v, np.cumsum([x.size for x in fast_inputs])[:-1])
        slow_hvp = slopes(scalar, scalar.dot(slow_slopes, v.tolist()), slow_inputs)
        directions = [d.reshape(x.shape) for d, x in zip(along, fast_inputs, strict=True)]
        products = [vector.sum(s * d) for s, d in zip(fast_slopes, directions, strict=True)]
        fast_hvp = slopes(vector, sum(products[1:], products[0]), fast_inputs)
    e_slow = errors([slow["loss"], *slow_slopes, *slow_hvp])
    e_fast = errors([fast["loss"], *fast_slopes, *fast_hvp])
    assume(np.isfinite([e_slow[v] for v in (*slow_slopes, *slow_hvp)]).all())  # towers of exp overflow
    assume(not undecided(e_slow) and not undecided(e_fast))
    compare("loss", [slow["loss"]], [fast["loss"]], e_slow, e_fast)
    compare("gradient", slow_slopes, fast_slopes, e_slow, e_fast)
    compare("Hessian-vector product", slow_hvp, fast_hvp, e_slow, e_fast)


@given(lines=networks())
def test_networks(lines: Lines):
    through_both(lines)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@part(12)
@given(data=st.data())
def test_every_activation(activation, data):
    through_both(data.draw(networks([activation])))


@pytest.mark.parametrize("name", OPTIMIZERS)
@part(6)
@given(lines=networks([None, "tanh", "relu", "sigmoid"]))
def test_optimizers(name, lines: Lines):
    """Every step's gradients agree within the bound. Given the very same gradients, a step of an optimizer is
    elementwise, so that the parameters agree to the last bit."""
    slow, fast = lines.run(SCALAR), lines.run(VECTOR)
    slow_parameters, fast_parameters = slow["model"].parameters(), fast["model"].parameters()
    slow_optimizer, fast_optimizer = (
        OPTIMIZERS[name](scalar, slow_parameters),
        OPTIMIZERS[name](vector, fast_parameters),
    )
    last = Lines("", lines.lines[-1:])
    for _ in range(4):
        assume(all(np.max(np.abs(p.data)) < 1e20 for p in fast_parameters))  # else it diverges, until it overflows
        slow_loss = last.run({**SCALAR, "model": slow["model"], "x": slow["x"]})["loss"]
        fast_loss = last.run({**VECTOR, "model": fast["model"], "x": fast["x"]})["loss"]
        slow_slopes = slopes(scalar, slow_loss, slow_parameters)
        fast_slopes = slopes(vector, fast_loss, fast_parameters)
        e_slow, e_fast = errors([slow_loss, *slow_slopes]), errors([fast_loss, *fast_slopes])
        assume(not undecided(e_slow) and not undecided(e_fast))
        compare("gradient", slow_slopes, fast_slopes, e_slow, e_fast)
        slow_optimizer.zero_grad()
        fast_optimizer.zero_grad()
        fast_loss.backward()
        slow_loss.backward()
        for p, s in zip(slow_parameters, slow_slopes, strict=True):
            assert same(p.grad, s.data, signed_zeros=False).all()
        shared = np.concatenate([p.grad.ravel() for p in fast_parameters]).tolist()
        for p, g in zip(slow_parameters, shared, strict=True):
            p.grad = g
        slow_optimizer.step()
        fast_optimizer.step()
        moved = np.concatenate([p.data.ravel() for p in fast_parameters])
        assert same([p.data for p in slow_parameters], moved, signed_zeros=False).all()


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@part(4)
@given(lines=networks([None, "tanh", "sigmoid"]))
def test_training_apart(lines: Lines, momentum: float):
    """Each engine on its own for several steps: the bound goes along, p' = p - lr v and v' = momentum v + g taking
    the errors of p, v and g with them."""
    ends = []
    for engine, names in ((scalar, SCALAR), (vector, VECTOR)):
        found = lines.run(names)
        parameters = found["model"].parameters()
        optimizer = engine.optim.SGD(parameters, 0.05, momentum=momentum)
        error = {p: 0.0 * np.asarray(p.data) for p in parameters}
        drift = dict(error)
        for _ in range(4):
            loss = Lines("", lines.lines[-1:]).run({**names, "model": found["model"], "x": found["x"]})["loss"]
            gradients = slopes(engine, loss, parameters)
            e = errors(gradients, error)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            assume(all(np.max(np.abs(p.data)) < 1e20 for p in parameters))  # else it diverges, until it overflows
            for p, s in zip(parameters, gradients, strict=True):
                drift[p] = momentum * drift[p] + e[s] + 4 * 2.0**-52 * np.abs(s.data)
                error[p] = error[p] + 0.05 * drift[p] + 4 * 2.0**-52 * np.abs(p.data)
        ends.append(
            [np.concatenate([np.ravel(x) for x in xs]) for xs in ([p.data for p in parameters], error.values())]
        )
    (slow, e_slow), (fast, e_fast) = ends
    assert close(slow, fast, e_slow + e_fast)


@given(lines=networks())
def test_a_state_dict_moves_between_the_engines(lines: Lines):
    slow, fast = (Lines("", lines.lines[:2]).run(names)["model"] for names in (SCALAR, VECTOR))
    empty = Lines("", lines.lines[:1])
    copies = empty.run(SCALAR)["model"], empty.run(VECTOR)["model"]
    copies[0].load_state_dict(fast.state_dict())
    copies[1].load_state_dict(slow.state_dict())
    for name, array in fast.state_dict().items():
        for copy in (slow, *copies):
            assert np.array_equal(copy.state_dict()[name], array)


@pytest.mark.parametrize("seed", [0, 1, 12345])
def test_the_same_seed_gives_the_same_weights(seed):
    slow, fast = scalar.nn.Dense(3, 4, seed=seed), vector.nn.Dense(3, 4, seed=seed)
    assert np.array_equal([[w.data for w in row] for row in slow.weight], fast.weight.data)
    assert np.array_equal([b.data for b in slow.bias], fast.bias.data)
