"""Zoom: the scalar graph behind an element of a tensor has the tensor's numbers and its gradients."""

import sys

import numpy as np
import pytest
from viz_samples import NO_COUNTERPART, vector_nodes

import scalar
import vector
import viz
from scalar import Value
from vector import Tensor, nn
from viz.nodes import in_order


@pytest.mark.parametrize("name", sorted(set(vector.ops.OPS) - NO_COUNTERPART))
def test_every_element_of_every_op_has_its_number_and_gradients(name: str) -> None:
    node = vector_nodes()[name]
    for index in np.ndindex(node.shape):
        value = viz.zoom(node, index)
        rtol = 1e-6 if node.dtype == np.float32 else 1e-13
        assert value.data == pytest.approx(float(node.data[index]), rel=rtol, abs=1e-300)
        wanted = vector.grad(vector.sum(node[index]), list(node.inputs))
        leaves = {x.label: x for x in in_order([value]) if x.op is None and x.requires_grad}
        for x, slopes in zip(node.inputs, wanted, strict=True):
            for at in np.ndindex(x.shape):
                leaf = leaves.get(f"{x.label}[{','.join(map(str, at))}]")
                slope = scalar.grad(value, leaf) if leaf else 0.0
                assert slope == pytest.approx(float(slopes[at]), rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("name", sorted(NO_COUNTERPART))
def test_an_op_without_a_counterpart_is_named(name: str) -> None:
    with pytest.raises(ValueError, match=f"^zoom: expected ops with a scalar counterpart on the way, got {name}$"):
        node = vector_nodes()[name]
        viz.zoom(node, (0,) * node.ndim)


def network(dtype: type = np.float64) -> tuple[Tensor, Tensor, Tensor]:
    model = nn.Sequential(nn.Dense(784, 128, "relu", seed=0, dtype=dtype), nn.Dense(128, 10, seed=1, dtype=dtype))
    image = vector.datasets.fashion_mnist_sample()[0][:1].reshape(1, 784) / 255.0
    images = Tensor(image.astype(dtype), "images", requires_grad=False)
    hidden = model.layers[0](images)
    hidden.label = "hidden"
    logits = model.layers[1](hidden)
    loss = vector.cross_entropy(logits, np.array([9]))
    loss.backward()
    return hidden, logits, loss


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_hidden_neuron_shows_its_largest_contributions(dtype: type) -> None:
    hidden, _, _ = network(dtype)
    neuron = int(np.argmax(hidden.data))
    value = viz.zoom(hidden, (0, neuron), largest=6)
    assert value.label == f"hidden[0,{neuron}]"
    assert value.data == pytest.approx(float(hidden.data[0, neuron]), rel=1e-12 if dtype == np.float64 else 1e-5)
    nodes = in_order([value])
    assert [node.label for node in nodes if "others" in node.label] == ["778 others"]
    products = [node for node in nodes if node.op and node.op.name == "multiply"]
    images, weights = hidden.inputs[0].inputs[0].inputs
    every = np.sort(np.abs(images.data[0] * weights.data[:, neuron]))[::-1]
    assert [abs(node.data) for node in products] == pytest.approx(every[:6], rel=1e-6)
    assert len(nodes) < 30


def test_the_loss_has_the_gradients_of_the_tensors() -> None:
    _, logits, loss = network()
    value = viz.zoom(loss, largest=10)
    assert value.data == pytest.approx(loss.item(), rel=1e-12)
    bias = {node.label: node.grad for node in in_order([value]) if node.label.startswith("1.bias")}
    assert bias == pytest.approx({f"1.bias[{i}]": g for i, g in enumerate(logits.inputs[1].grad)}, rel=1e-9)


def test_layers_stop_the_way_down() -> None:
    _, logits, _ = network()
    one, none = (viz.zoom(logits, (0, 3), largest=4, layers=n) for n in (1, 0))
    assert {node.op.name for node in in_order([one]) if node.op} == {"add", "sum", "multiply", "relu"}
    assert [node.label for node in in_order([none])] == ["", "1.bias[3]", ""]
    assert none.data == pytest.approx(float(logits.data[0, 3]))


def test_what_is_used_twice_is_one_node() -> None:
    x = Tensor([1.0, 2.0], "x")
    value = viz.zoom(vector.sum(x * x + x))
    assert sorted(node.label for node in in_order([value]) if not node.op) == ["x[0]", "x[1]"]


def test_a_zoom_can_be_drawn_stepped_and_played(tmp_path) -> None:
    hidden, _, _ = network()
    value = viz.zoom(hidden, (0, int(np.argmax(hidden.data))), largest=3)
    assert "781 others" in viz.draw(value).source
    assert len(viz.steps(value)) > 5
    assert viz.play(value, tmp_path / "zoom.html").exists()


def test_no_depth_is_too_deep() -> None:
    x = Tensor([0.5, 0.1], "x")
    for _ in range(3000):
        x = -x
    assert viz.zoom(x, 0).data == 0.5


@pytest.mark.parametrize(("index", "shown"), [((5, 0), "(5, 0)"), (0, "(0,)"), ((), "()"), ((0, "a"), "(0, 'a')")])
def test_an_index_that_names_no_element_is_named(index: object, shown: str) -> None:
    with pytest.raises(ValueError) as error:
        viz.zoom(Tensor(np.zeros((2, 2))), index)
    assert str(error.value) == f"zoom: expected the index of one element of shape (2, 2), got {shown}"


def test_only_tensors_are_zoomed() -> None:
    with pytest.raises(TypeError, match=r"^zoom: expected a tensor, got Value$"):
        viz.zoom(Value(1.0))


def test_negative_indices_count_from_the_end() -> None:
    assert viz.zoom(Tensor([[1.0, 2.0]], "x"), (0, -1)).label == "x[0,1]"


def test_zoom_carries_the_gradients_of_the_whole_graph() -> None:
    """Also those of the products inside a matrix product, which no tensor has; and no old ones of another graph."""
    hidden, _, _ = network()
    at = int(np.argmax(hidden.data * (hidden.grad != 0)))
    neuron = viz.zoom(hidden, (0, at), largest=6)
    assert neuron.grad == hidden.grad[0, at] != 0
    found = {node.label: node.grad for node in in_order([neuron])}
    weight = hidden.inputs[0].inputs[0].inputs[1]
    row = next(int(label.partition("[")[2].partition(",")[0]) for label in found if label.startswith("0.weight"))
    assert found[f"0.weight[{row},{at}]"] == weight.grad[row, at]
    products = [node for node in in_order([neuron]) if node.op and node.op.name == "multiply"]
    assert len(products) == 6 and {product.grad for product in products} == {neuron.grad}
    small = vector.mean(
        vector.softmax(Tensor([[0.5, -1.0]], "x") @ Tensor([[1.0, 2.0], [3.0, 4.0]], "W"), axis=-1) ** 2
    )
    small.backward()
    carried, own = viz.zoom(small), viz.zoom(small)
    scalar.optim.SGD([x for x in in_order([own]) if x.op is None and x.requires_grad], 0.1).zero_grad()
    own.backward()
    assert [x.grad for x in in_order([carried])] == pytest.approx([x.grad for x in in_order([own])], rel=1e-12)
    fresh = viz.zoom(vector.tanh(weight @ np.ones((128, 1))), (0, 0))
    assert {node.grad for node in in_order([fresh])} == {0.0}


def test_a_tensor_without_a_label_goes_by_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    W = Tensor([[1.0, 2.0]])
    monkeypatch.setattr(sys.modules["__main__"], "W", W, raising=False)
    monkeypatch.setattr(sys.modules["__main__"], "_3", W, raising=False)
    out = W * 2.0
    assert viz.formula(viz.zoom(out, (0, 1))).text == "L = W[0,1] * 2"
    assert "<B>W</B>" in viz.draw(out).source and "W × 2" in viz.draw(out).source
    named = Tensor([1.0], "mine")
    monkeypatch.setattr(sys.modules["__main__"], "other", named, raising=False)
    assert "other" not in viz.draw(named).source
