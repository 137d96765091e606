"""Where data comes from: the order of the places, and that nothing is replaced in silence."""

import os
import urllib.error
import urllib.request
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest

from labkit import cache, data
from labkit.data import compat, download, sources


def test_order_is_named_folder_then_checkout_then_download_then_stand_in(tmp_path, monkeypatch, tiny_mnist):
    named, checkout = tmp_path / "named", tmp_path / "checkout" / "data"
    with pytest.warns(data.StandInWarning, match="MNIST was not found"):
        assert not data.load("mnist").real
    tiny_mnist(tmp_path / "cache" / "downloads")
    monkeypatch.setattr(sources, "download_root", lambda: tmp_path / "cache" / "downloads")
    assert sources.find("mnist").path == tmp_path / "cache" / "downloads"
    tiny_mnist(checkout / "mnist")
    assert sources.find("mnist").path == checkout / "mnist"
    tiny_mnist(named)
    assert sources.find("mnist").path == checkout / "mnist"
    monkeypatch.setenv("LABKIT_DATA", str(named))
    assert sources.find("mnist").path == named
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert data.load("mnist").real


def test_a_wheel_looks_in_the_working_folder(tmp_path, monkeypatch, tiny_mnist):
    monkeypatch.setattr(cache, "checkout", lambda: None)
    monkeypatch.chdir(tmp_path)
    tiny_mnist(tmp_path / "data")
    assert data.load("mnist").source == "MNIST"


def test_a_relative_labkit_data_may_be_relative_to_the_checkout(tmp_path, monkeypatch, tiny_mnist):
    monkeypatch.chdir(tmp_path / "checkout" / "data")  # as a notebook does: somewhere below the root
    tiny_mnist(tmp_path / "datasets")
    monkeypatch.setenv("LABKIT_DATA", "../datasets")
    assert sources.roots()[0] == (tmp_path / "datasets").resolve()


def test_labkit_data_that_is_no_folder_is_named(monkeypatch):
    monkeypatch.setenv("LABKIT_DATA", "no/such/folder")
    with pytest.raises(data.DataError, match="LABKIT_DATA is 'no/such/folder'"):
        data.load("mnist")
    assert data.locate("mnist").kind == "corrupt"


def test_stand_in_says_so_and_real_refuses_it():
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # asked for by name: no warning
        stand_in = data.load("mnist", source="stand-in")
    assert stand_in.source.startswith("stand-in for MNIST")
    with pytest.raises(data.DataError, match="MNIST was not found in"):
        data.load("mnist", source="real")


@pytest.mark.parametrize(
    ("name", "source", "message"),
    [
        ("emnist", None, "no data set is called 'emnist'; expected one of mnist"),
        ("mnist", "fake", "source is 'fake'"),
        ("breast_cancer", "stand-in", "needs no stand-in"),
        ("breastmnist", "stand-in", "has no stand-in"),
        ("breastmnist", None, "BreastMNIST was not found"),
        ("pathmnist", "real", "PathMNIST was not found"),
    ],
)
def test_wrong_requests_are_explained(name, source, message):
    with pytest.raises(data.DataError, match=message):
        data.load(name, source=source)


def test_no_network_is_quick_quiet_and_asked_once(monkeypatch, capfd):
    monkeypatch.setenv("LABKIT_OFFLINE", "0")
    asked = []

    def unreachable(request, timeout):
        asked.append(timeout)
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    for _ in range(2):
        with pytest.warns(data.StandInWarning):
            data.load("mnist")
    assert asked == [download.TIMEOUT]
    assert capfd.readouterr() == ("", "")


def fake_torchvision(write, fails=False):
    """A torchvision whose MNIST download writes small files, or fails as a broken line does."""

    class MNIST:
        mirrors = ("https://example.org/",)
        resources = (("a", "md5"), ("b", "md5"))

        def __init__(self, root, download):
            assert download
            print("torchvision talks on stdout")
            if fails:
                raise RuntimeError("File not found or corrupted.")
            write(Path(root) / "MNIST" / "raw")

    return SimpleNamespace(
        datasets=SimpleNamespace(MNIST=MNIST, CIFAR10=SimpleNamespace(base_folder="x", url="y"))
    )


def test_download_lands_in_a_writable_folder_and_is_used(tmp_path, monkeypatch, tiny_mnist, capsys):
    monkeypatch.setenv("LABKIT_OFFLINE", "0")
    (tmp_path / "readonly").mkdir()
    monkeypatch.setenv("LABKIT_DATA", str(tmp_path / "readonly"))
    monkeypatch.setattr(download, "_reachable", lambda url: True)
    monkeypatch.setattr(compat, "torchvision", lambda: fake_torchvision(tiny_mnist))
    mnist = data.load("mnist")
    assert mnist.real
    assert mnist.source == "MNIST"
    assert data.locate("mnist").path == tmp_path / "checkout" / "data" / "MNIST" / "raw"
    assert not os.listdir(tmp_path / "readonly")
    assert capsys.readouterr().out == ""  # notebooks keep their output to themselves


def test_a_download_that_breaks_leaves_nothing_behind(tmp_path, monkeypatch, tiny_mnist, capsys):
    monkeypatch.setenv("LABKIT_OFFLINE", "0")
    monkeypatch.setattr(download, "_reachable", lambda url: True)
    monkeypatch.setattr(compat, "torchvision", lambda: fake_torchvision(tiny_mnist, fails=True))
    with pytest.warns(data.StandInWarning):
        data.load("mnist")
    assert "download of MNIST failed: File not found or corrupted." in capsys.readouterr().err
    assert not os.listdir(tmp_path / "checkout" / "data")


def test_locate_tells_what_load_would_do(tmp_path, monkeypatch, tiny_mnist):
    assert data.locate("mnist").kind == "stand-in"
    assert data.locate("pathmnist").kind == "stand-in"
    assert data.locate("breastmnist").kind == "missing"
    assert data.locate("breast_cancer").kind == "bundled"
    monkeypatch.setenv("LABKIT_OFFLINE", "0")
    assert data.locate("cifar10").kind == "download"
    folder = tiny_mnist(tmp_path / "checkout" / "data")
    found = data.locate("mnist")
    assert (found.kind, found.path, found.verified) == ("files", folder, True)
    next(folder.glob("*labels*")).write_bytes(b"oops")
    found = data.locate("mnist")
    assert (found.kind, found.verified) == ("corrupt", False)
    assert "Delete it" in found.message
