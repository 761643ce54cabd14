"""The data set out of the Debian package. apt is a script."""

import gzip
import os
from pathlib import Path

import pytest
from tiny_mnist import contents, fill, good_pages, is_tiny, tiny_raws

from vector.data import download
from vector.data import fashion_mnist as mnist
from vector.datasets import fashion_mnist

APT_GET = """#!/bin/sh
echo "$PWD: $*" >> {log}
cp apt.conf {log}.conf
[ "$3" = download ] && {download}
exit 0
"""
DPKG_DEB = """#!/bin/sh
PATH=/usr/bin:/bin
[ "$1 $2 $3" = "-x the.deb unpacked" ] || exit 3
mkdir -p unpacked/usr/share/datasets && cp -r {package} unpacked/usr/share/datasets/fashion-mnist
"""


def fake_apt(house, download=": > the.deb"):
    fill(house / "package", tiny_raws())
    log = house / "apt.log"
    scripts = {
        "apt-get": APT_GET.format(log=log, download=download).replace("cp ", "/bin/cp "),
        "dpkg-deb": DPKG_DEB.format(package=house / "package"),
    }
    for name, script in scripts.items():
        (house / "bin" / name).write_text(script)
        (house / "bin" / name).chmod(0o755)
    return log


needs_sh = pytest.mark.skipif(os.name != "posix", reason="the stand-in for apt is a shell script")


@needs_sh
def test_without_a_mirror_the_debian_package_is_taken(house):
    log = fake_apt(house)
    assert is_tiny(fashion_mnist())
    update, download = log.read_text().splitlines()
    home, _, arguments = update.partition(": ")
    assert arguments == "-c apt.conf update"
    assert download == f"{home}: -c apt.conf download dataset-fashion-mnist"
    assert not Path(home).exists()  # the private folder is gone
    assert sorted(contents(house / "cache")) == sorted(good_pages())
    conf = Path(f"{log}.conf").read_text()
    for setting in ("Dir::State", "Dir::State::lists", "Dir::State::status", "Dir::Cache"):
        assert f'{setting} "{home}/' in conf


@needs_sh
def test_a_failing_apt_is_quoted(house):
    fake_apt(house, download="{ echo 'E: Unable to locate package' >&2; exit 100; }")
    with pytest.raises(FileNotFoundError, match="apt-get failed with exit code 100: E: Unable to locate"):
        fashion_mnist()


@needs_sh
def test_an_apt_that_brings_nothing_is_told(house):
    fake_apt(house, download=":")
    with pytest.raises(FileNotFoundError, match=r"it brought no \.deb file"):
        fashion_mnist()


@needs_sh
def test_a_wrong_debian_package_is_not_kept(house):
    fake_apt(house)
    (house / "package" / f"{mnist.SOURCE.files[0].name}.gz").write_bytes(gzip.compress(b"another"))
    with pytest.raises(FileNotFoundError, match="train-images-idx3-ubyte: expected SHA-256"):
        fashion_mnist()
    assert contents(house / "cache") == {}


@pytest.mark.slow
def test_the_real_data_set_is_fetched_into_an_empty_cache(monkeypatch, tmp_path):
    monkeypatch.delenv("FASHION_MNIST", raising=False)
    monkeypatch.setattr(download, "ROOT", tmp_path / "system")
    monkeypatch.setattr(download.Source, "cache", tmp_path / "cache")
    assert fashion_mnist().train_images.shape == (60_000, 28, 28)
