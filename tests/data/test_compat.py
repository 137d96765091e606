"""torchvision beside a CPU build of torch: the detour is taken on one error only."""

import importlib
import subprocess
import sys
from types import ModuleType

import pytest

from labkit.data import compat


@pytest.fixture
def imports(monkeypatch):
    """Replaces the import of torchvision by a list of answers, and the list of kept libraries by an empty one."""

    def answer_with(*answers):
        queue = list(answers)

        def fake(name):
            assert name == "torchvision"
            answer = queue.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

        monkeypatch.setattr(importlib, "import_module", fake)
        return queue

    monkeypatch.setattr(compat, "_kept", [])
    return answer_with


def test_a_matching_install_never_takes_the_detour(imports):
    module = ModuleType("torchvision")
    imports(module)
    assert compat.torchvision() is module
    assert compat._kept == []


def test_the_one_error_is_repaired(imports, monkeypatch):
    import torch.library

    defined = []

    class Library:
        def __init__(self, *where):
            defined.append(where)

        def define(self, schema):
            defined.append(schema.split("(")[0])

    monkeypatch.setattr(torch.library, "Library", Library)
    monkeypatch.setitem(sys.modules, "torchvision.half_loaded", ModuleType("torchvision.half_loaded"))
    for name in [m for m in sys.modules if m == "torchvision" or m.startswith("torchvision.")]:
        monkeypatch.setitem(sys.modules, name, sys.modules[name])  # put back after the test
    module = ModuleType("torchvision")
    imports(RuntimeError("operator torchvision::nms does not exist"), module)
    assert compat.torchvision() is module
    assert defined == [("torchvision", "FRAGMENT"), "nms", "qnms"]
    assert len(compat._kept) == 1
    assert "torchvision.half_loaded" not in sys.modules


@pytest.mark.parametrize("error", [RuntimeError("CUDA is lost"), ImportError("No module named torchvision")])
def test_any_other_error_is_passed_on(imports, error):
    left = imports(error, "never")
    with pytest.raises(type(error), match=str(error)):
        compat.torchvision()
    assert left == ["never"]
    assert compat._kept == []


def test_it_imports_here():
    script = (
        "from labkit import data; tv = data.torchvision(); assert tv is data.torchvision();"
        "from torchvision.transforms import v2; import torchvision.models;"
        "print(tv.datasets.CIFAR10.tgz_md5)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "c58f30108f718f92721af3b95e74349a"


def test_importing_the_package_is_cheap():
    script = (
        "import sys, labkit.data; assert not {'torch', 'sklearn', 'pandas', 'torchvision'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
