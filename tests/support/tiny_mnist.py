"""A small Fashion-MNIST, the folders it lies in, and what a mirror may answer. The network is 127.0.0.1."""

import gzip
import hashlib
import socket
import struct
import subprocess
import sys

import numpy as np

from vector.data import fashion_mnist as mnist
from vector.data.download import File

CODES = {"u1": 0x08, "i1": 0x09, ">i2": 0x0B, ">i4": 0x0C, ">f4": 0x0D, ">f8": 0x0E}


def idx(array, code="u1"):
    """The IDX file of an array, written independently of the reader."""
    dimensions = b"".join(n.to_bytes(4, "big") for n in array.shape)
    return bytes([0, 0, CODES[code], array.ndim]) + dimensions + array.astype(code).tobytes()


def tiny_raws():
    """Four IDX files like the real ones, of 6 training and 3 test images."""
    values = np.arange(9 * 28 * 28).reshape(9, 28, 28) % 251
    classes = np.arange(9)
    return [idx(values[:6]), idx(classes[:6]), idx(values[6:]), idx(classes[6:])]


def sizes_and_sums(raws):
    return tuple(
        File(file.name, len(raw), hashlib.sha256(raw).hexdigest())
        for file, raw in zip(mnist.SOURCE.files, raws, strict=True)
    )


def fill(folder, raws, compress=True):
    folder.mkdir(parents=True, exist_ok=True)
    for file, raw in zip(mnist.SOURCE.files, raws, strict=True):
        if compress:
            (folder / f"{file.name}.gz").write_bytes(gzip.compress(raw))
        else:
            (folder / file.name).write_bytes(raw)
    return folder


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def good_pages():
    return {f"{f.name}.gz": gzip.compress(r) for f, r in zip(mnist.SOURCE.files, tiny_raws(), strict=True)}


def is_tiny(data):
    return [idx(array) for array in data] == tiny_raws()


def use_mirrors(monkeypatch, *addresses):
    monkeypatch.setattr(mnist, "SOURCE", mnist.SOURCE._replace(mirrors=addresses))


def answer(code=200, body=b"", **headers):
    """A page that answers with this code, these headers (a `_` for a `-`) and this body."""

    def page(handler):
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), str(value))
        handler.end_headers()
        handler.wfile.write(body)

    return page


def cut(good):
    """Half the file, then the connection is reset."""

    def page(handler):
        answer(200, good[: len(good) // 2], Content_Length=len(good))(handler)
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        handler.connection.close()

    return page


def stalled(good):
    """Half the file, then nothing until the client hangs up."""

    def page(handler):
        answer(200, good[: len(good) // 2], Content_Length=len(good))(handler)
        handler.connection.recv(1)

    return page


def endless(code=200, **headers):
    """An answer that ends when the client hangs up."""

    def page(handler):
        answer(code, **headers)(handler)
        while True:
            handler.wfile.write(bytes(1 << 16))

    return page


def to(place):
    """A redirect to an address, or to a path of the same server."""
    return answer(302, Location=place)


def program(house, address, body):
    """A process of its own, with the tiny data set and one mirror, that runs `body`."""
    head = f"""
import os, sys
from pathlib import Path
from vector.data import download, fashion_mnist as mnist
from vector.data.download import File, Source
from vector.datasets import fashion_mnist
mnist.SOURCE = {mnist.SOURCE._replace(mirrors=(address,))!r}
download.ROOT = Path({str(house / "system")!r})
Source.cache = Path({str(house / "cache")!r})
"""
    return subprocess.Popen([sys.executable, "-c", head + body], stderr=subprocess.PIPE, text=True)
