"""Data sets in MNIST's format, folders of pictures, and tables."""

import gzip
import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from tiny_mnist import idx

import vector
from vector.data import mnist as sets
from vector.datasets import EMNIST_CLASSES, emnist, kmnist, mnist, picture_folder, table

RNG = np.random.default_rng(0)


def four_files(folder, names=sets.PARTS, first=0, zipped=False):
    """Five training images and three test images of 4 x 6, and what they hold."""
    arrays = [
        RNG.integers(0, 255, (5, 4, 6)),
        np.arange(5) + first,
        RNG.integers(0, 255, (3, 4, 6)),
        np.arange(3) + first,
    ]
    arrays = [x.astype(np.uint8) for x in arrays]
    folder.mkdir(exist_ok=True)
    for name, x in zip(names, arrays, strict=True):
        content = idx(x)
        (folder / f"{name}{'.gz' * zipped}").write_bytes(gzip.compress(content) if zipped else content)
    return arrays


@pytest.mark.parametrize("zipped", [False, True])
def test_four_files(tmp_path, zipped):
    arrays = four_files(tmp_path, zipped=zipped)
    assert all(map(np.array_equal, kmnist(tmp_path), arrays))


def test_letters_are_turned_and_numbered_from_0(tmp_path):
    names = [f"emnist-letters-{part.replace('t10k', 'test')}" for part in sets.PARTS]
    arrays = four_files(tmp_path, names, first=1)
    data = emnist(tmp_path, "letters")
    assert np.array_equal(data.train_images[0], arrays[0][0].T) and data.train_labels.tolist() == [0, 1, 2, 3, 4]
    assert EMNIST_CLASSES["letters"][data.train_labels[2]] == "C"
    with pytest.raises(FileNotFoundError, match="expected emnist-digits-train-images-idx3-ubyte"):
        emnist(tmp_path, "digits")
    with pytest.raises(ValueError, match="expected a split out of digits, mnist"):
        emnist(tmp_path, "words")


def test_labels_that_are_not_as_many(tmp_path):
    four_files(tmp_path)
    (tmp_path / sets.PARTS[1]).write_bytes(idx(np.zeros(4, np.uint8)))
    with pytest.raises(
        ValueError, match=r"expected as many labels as images, got shape \(5, 4, 6\) in .* and shape \(4,\) in"
    ):
        kmnist(tmp_path)
    for name in sets.PARTS:
        (tmp_path / name).write_bytes(idx(np.zeros(4, np.uint8)))
    with pytest.raises(ValueError, match=r"ubyte: expected images \(n, height, width\), got shape \(4,\)"):
        kmnist(tmp_path)


def test_digits_are_fetched_and_verified(tmp_path, monkeypatch, capsys):
    arrays = four_files(tmp_path / "served", zipped=True)
    files = []
    for name in sets.PARTS:
        content = gzip.decompress((tmp_path / "served" / f"{name}.gz").read_bytes())
        files.append(sets.File(name, len(content), hashlib.sha256(content).hexdigest()))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            content = (tmp_path / "served" / self.path[1:]).read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    mirror = f"http://127.0.0.1:{server.server_address[1]}/"
    monkeypatch.setattr(sets, "MNIST", sets.MNIST._replace(files=tuple(files), mirrors=(mirror,)))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("MNIST", raising=False)
    try:
        assert all(map(np.array_equal, mnist(), arrays))
    finally:
        server.shutdown()
        server.server_close()
    assert all(map(np.array_equal, mnist(), arrays)), "from the cache, where nobody serves it"
    (tmp_path / "own").mkdir()
    with pytest.raises(FileNotFoundError, match="expected train-images-idx3-ubyte"):
        mnist(tmp_path / "own")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "empty"))
    with pytest.raises(FileNotFoundError, match="MNIST is not on this machine") as error:
        mnist()
    assert "apt-get" not in str(error.value) and "2. let it be downloaded" in str(error.value)


def test_a_folder_of_pictures(tmp_path):
    image = pytest.importorskip("PIL.Image")
    for kind, grey in (("cat", 10), ("ant", 200)):
        (tmp_path / kind).mkdir()
        for i in range(2):
            image.fromarray(np.full((4, 6), grey + i, np.uint8)).save(tmp_path / kind / f"{i}.png")
    (tmp_path / "cat" / "notes.txt").write_text("not a picture")
    data = picture_folder(tmp_path)
    assert data.names == ("ant", "cat") and data.labels.tolist() == [0, 0, 1, 1]
    assert data.images[:, 0, 0].tolist() == [200, 201, 10, 11] and data.images.shape == (4, 4, 6)
    assert picture_folder(tmp_path, (8, 8), colour=True).images.shape == (4, 8, 8, 3)
    image.fromarray(np.zeros((5, 6), np.uint8)).save(tmp_path / "cat" / "9.png")
    with pytest.raises(ValueError, match=r"9\.png: expected 4 x 6 pixels like the first picture, got 5 x 6; pass size"):
        picture_folder(tmp_path)
    (tmp_path / "ant" / "8.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"8\.png: expected a picture, got a file that cannot be read"):
        picture_folder(tmp_path)
    with pytest.raises(FileNotFoundError, match="one for each class, found none"):
        picture_folder(tmp_path / "cat")


TABLE = "size,weight,kind\n1,2.5,ant\n3,4.5,cat\n\n5,6.5,ant\n"


def test_a_table(tmp_path):
    path = tmp_path / "animals.csv"
    path.write_text(TABLE)
    data = table(path)
    assert data.features.tolist() == [[1, 2.5], [3, 4.5], [5, 6.5]] and data.names == ("size", "weight")
    assert data.targets.tolist() == [0, 1, 0] and data.classes == ("ant", "cat")
    path.write_text("1;2;3\n4;5;6\n")
    numbers = table(path, [0, -1], header=False, delimiter=";")
    assert numbers.features.tolist() == [[2], [5]] and numbers.targets.tolist() == [[1, 3], [4, 6]]
    assert table(path, 0, header=False, delimiter=";").targets.tolist() == [1, 4]


@pytest.mark.parametrize(
    "text, target, message",
    [
        ("a,b\n1,2\n3\n", -1, "line 3: expected 2 columns, got 1"),
        ("a,b\n1,2\nx,4\n", -1, "line 3, a: expected a number, got 'x'"),
        ("a,b\n1,2\n", "c", "expected a target column out of a, b, got 'c'"),
        ("a,b\n", -1, "expected at least one row of numbers, got none"),
        ("", -1, "expected at least one row of numbers, got none"),
    ],
)
def test_broken_tables(tmp_path, text, target, message):
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        table(path, target)


def test_they_train(tmp_path):
    path = tmp_path / "line.csv"
    path.write_text("x,y\n" + "".join(f"{x / 10},{3 * x / 10 + 1}\n" for x in range(-10, 11)))
    data = table(path, "y")
    model = vector.nn.Sequential(vector.nn.Dense(1, 1, seed=0))
    update = vector.optim.SGD(model.parameters(), 0.3)
    history = model.fit(data.features, data.targets[:, None], update, epochs=60, loss=vector.mse, batch_size=7)
    assert history[-1]["loss"] < 1e-6 and np.isclose(model[0].weight.item(), 3.0, atol=1e-3)
