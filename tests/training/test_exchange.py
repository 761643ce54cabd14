"""State dicts as safetensors, in PyTorch's layout, and models as ONNX."""

import numpy as np
import pytest

import vector
from vector import exchange, nn

RNG = np.random.default_rng(0)


def moved(model):
    """A model whose numbers are none that it starts with."""
    for x in model.parameters():
        x.data[...] = RNG.normal(size=x.shape) * 0.3
    return model


def convnet(seed=0):
    return nn.Sequential(
        nn.Conv2D(1, 3, 3, padding=1, bias=False, seed=seed),
        nn.BatchNorm(3),
        nn.Lambda(vector.relu),
        nn.MaxPool(2),
        nn.Residual(nn.Conv2D(3, 3, 2, "tanh", padding="same", seed=seed)),
        nn.AvgPool(2, 1, 1),
        nn.Dropout(0.5),
        nn.GlobalAveragePool(),
        nn.Dense(3, 2, "log_softmax", seed=seed),
    )


def test_safetensors(tmp_path):
    pytest.importorskip("safetensors")
    path, model = tmp_path / "model.safetensors", moved(convnet())
    exchange.save_safetensors(path, model.state_dict())
    other = convnet(7)
    other.load_state_dict(exchange.load_safetensors(path))
    assert all(np.array_equal(x, other.state_dict()[name]) for name, x in model.state_dict().items())
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(ValueError, match="expected a safetensors file, got a damaged one"):
        exchange.load_safetensors(path)


def test_kernels_go_there_and_back():
    model, other = moved(convnet()), convnet(7)
    state = exchange.to_torch(model)
    kernel = state["0.weight"]
    assert kernel.shape == (3, 1, 3, 3) and kernel[2, 0, 0, 1] == model[0].weight.data[0, 1, 0, 2]
    exchange.from_torch(other, state)
    names = [name for name in model.state_dict() if "mean" not in name and "variance" not in name]
    assert all(np.array_equal(model.state_dict()[name], other.state_dict()[name]) for name in names)


def test_names_and_axes_of_another_library():
    model = nn.Sequential(nn.Dense(2, 3), nn.BatchNorm(3), nn.GRU(3, 4), nn.MultiHeadAttention(4, 2), nn.Dense(4, 1))
    state = exchange.to_torch(moved(model))
    assert [*state] == [
        *("0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var"),
        *("2.weight_ih_l0", "2.weight_hh_l0", "2.bias_ih_l0", "2.bias_hh_l0"),
        *("3.in_proj_weight", "3.in_proj_bias", "3.out_proj.weight", "3.out_proj.bias", "4.weight", "4.bias"),
    ]
    assert np.array_equal(state["0.weight"], model[0].weight.data.T) and state["2.weight_ih_l0"].shape == (12, 3)
    other = nn.Sequential(nn.Dense(2, 3), nn.BatchNorm(3), nn.GRU(3, 4), nn.MultiHeadAttention(4, 2), nn.Dense(4, 1))
    exchange.from_torch(other, state | {"1.num_batches_tracked": np.array(3)})
    assert all(np.array_equal(x, other.state_dict()[name]) for name, x in model.state_dict().items())
    renamed = exchange.to_torch(model, ["fc", "norm", "rnn", "block.attention", "head"])
    assert "block.attention.out_proj.weight" in renamed
    exchange.from_torch(other, renamed)
    with pytest.raises(ValueError, match="expected 5 prefixes, one for each layer with tensors, got 1"):
        exchange.to_torch(model, ["fc"])
    with pytest.raises(ValueError, match=r"0.weight: expected shape \(3, 2\), got \(2, 3\)"):
        exchange.from_torch(other, state | {"0.weight": state["0.weight"].T})
    with pytest.raises(ValueError, match="from_torch: expected the names"):
        exchange.from_torch(other, {name: x for name, x in state.items() if name != "0.bias"})


class Own(nn.Layer):
    def __init__(self):
        self.scale = vector.Tensor(1.0)

    def __call__(self, x):
        return x * self.scale


@pytest.mark.parametrize(
    "model, sample",
    [
        (convnet(), (6, 6)),
        (nn.Sequential(nn.Flatten(), nn.Dense(12, 5, "relu"), nn.LayerNorm(5), nn.Dense(5, 2, "softmax")), (3, 4)),
        (
            nn.Sequential(nn.Reshape(2, 6, 1), nn.Conv2D(1, 2, (2, 3), stride=(1, 2), dilation=(1, 2)), nn.Flatten()),
            (12,),
        ),
        (nn.Sequential(nn.Sequential(nn.Dense(4, 4, "selu"), nn.Dense(4, 4, "leaky_relu")), vector.tanh), (4,)),
    ],
    ids=["convnet", "dense", "steps", "nested"],
)
def test_onnx(model, sample, tmp_path):
    onnx = pytest.importorskip("onnx")
    reference = pytest.importorskip("onnx.reference")
    moved(model)(RNG.normal(size=(8, *sample)))  # moves the running means
    path = tmp_path / "model.onnx"
    exchange.to_onnx(model, path, sample)
    run = reference.ReferenceEvaluator(onnx.load(path))
    for n in (1, 5):
        x = RNG.normal(size=(n, *sample))
        found = run.run(None, {"input": x})[0]
        assert np.allclose(found, model.predict(x), rtol=1e-6, atol=1e-7)  # ONNX has settings in float32


def test_onnx_of_words(tmp_path):
    onnx, reference = pytest.importorskip("onnx"), pytest.importorskip("onnx.reference")
    model = nn.Sequential(nn.Embedding(9, 3, seed=0), nn.Flatten(), nn.Dense(6, 2, seed=1))
    exchange.to_onnx(model, tmp_path / "m.onnx", (2,), np.int64)
    x = RNG.integers(0, 9, (4, 2))
    found = reference.ReferenceEvaluator(onnx.load(tmp_path / "m.onnx")).run(None, {"input": x})[0]
    assert np.allclose(found, model(x).data, rtol=1e-12)


def test_what_has_no_name_there(tmp_path):
    pytest.importorskip("onnx")
    with pytest.raises(TypeError, match=r"expected layers out of .*, got Own"):
        exchange.to_onnx(nn.Sequential(Own()), tmp_path / "m.onnx", (2,))
    with pytest.raises(TypeError, match=r"expected an activation out of .*, got <lambda>"):
        exchange.to_onnx(nn.Sequential(nn.Dense(2, 2, lambda x: x * 2.0)), tmp_path / "m.onnx", (2,))
    with pytest.raises(TypeError, match="PyTorch: expected layers that are known, got Own"):
        exchange.to_torch(nn.Sequential(Own()))
    assert not [*tmp_path.iterdir()]
