"""The doctor: every problem is seen, named, and given one fix."""

import os
import subprocess
import sys
from collections import namedtuple

import pytest

from labkit import cli, data, doctor
from labkit.data import sources


def finding(findings, topic):
    return next(item for item in findings if item.topic == topic)


def test_this_environment_has_no_problem_with_python_packages_or_kernel():
    for part in (doctor._python, doctor._packages, doctor._jupyter, doctor._hardware, doctor._folders):
        assert not [item for item in part() if item.level == doctor.PROBLEM]


def test_tested_versions_come_from_the_lock():
    pins = doctor.tested_versions()
    assert pins["torch"]
    assert pins["dp-accounting"]


def test_a_package_missing_or_out_of_range_is_a_problem_with_a_command(monkeypatch):
    monkeypatch.setattr(
        doctor.metadata, "requires", lambda name: ["no-such-thing>=1", "numpy<1", "scipy", "x; extra == 'y'"]
    )
    findings = list(doctor._packages())
    assert finding(findings, "no-such-thing").fix == 'python -m pip install "no-such-thing>=1"'
    assert "labkit needs <1" in finding(findings, "numpy").found
    assert finding(findings, "Packages").found.startswith("1 installed")
    assert not [item for item in findings if item.topic == "x"], "extras are optional"


def test_another_version_than_tested_is_a_note(monkeypatch):
    monkeypatch.setattr(doctor, "tested_versions", lambda: {"numpy": "0.0.1"})
    monkeypatch.setattr(doctor.metadata, "requires", lambda name: ["numpy"])
    note = finding(doctor._packages(), "Tested versions")
    assert note.level == doctor.NOTE
    assert "tested 0.0.1" in note.found


def test_not_installed_and_old_python(monkeypatch):
    def absent(name):
        raise doctor.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(doctor.metadata, "requires", absent)
    assert "pip install --editable" in finding(doctor._packages(), "labkit").fix
    monkeypatch.setattr(doctor, "OLDEST_PYTHON", (4, 0))
    assert finding(doctor._python(), "Python").level == doctor.PROBLEM


def test_a_broken_torch_is_a_problem(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    item = finding(doctor._hardware(), "torch")
    assert item.level == doctor.PROBLEM
    assert "reinstall" in item.fix


def test_little_memory_is_a_note(monkeypatch):
    import psutil

    memory = namedtuple("memory", "total")
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory(2 * 2**30))
    assert "smoke" in finding(doctor._hardware(), "Machine").fix


def test_a_corrupt_file_is_a_problem(monkeypatch, tmp_path):
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(b"not a gzip")
    monkeypatch.setenv("LABKIT_DATA", str(tmp_path))
    for name in ("train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (tmp_path / f"{name}-ubyte.gz").write_bytes(b"nor this")
    item = finding(doctor._data(), "Data: mnist")
    assert item.level == doctor.PROBLEM
    assert item.fix


def test_what_cannot_be_fetched_is_optional_and_gets_no_fetch_command(monkeypatch, tmp_path):
    monkeypatch.setenv("LABKIT_DATA", str(tmp_path))
    found = list(doctor._data())
    optional = finding(found, "Data: optional")
    for name in set(data.DATASETS) - set(sources.DOWNLOADS):
        if data.locate(name).kind in ("missing", "stand-in"):
            assert name in optional.found
            assert not any(name in item.fix for item in found)
    assert "pathmnist" in optional.found
    assert finding(found, "Data: mnist").fix == "labkit data --fetch mnist"


def test_a_wrong_data_folder_is_a_problem(monkeypatch, tmp_path):
    monkeypatch.setenv("LABKIT_DATA", str(tmp_path / "nowhere"))
    item = finding(doctor._data(), "Data")
    assert "nowhere" in item.found
    assert "LABKIT_DATA" in item.fix


def test_a_wrong_data_folder_is_shown_as_given_and_its_fix_once(monkeypatch):
    monkeypatch.setenv("LABKIT_DATA", "/no/such")
    item = finding(doctor.examine(), "Data")
    assert item.found == "LABKIT_DATA is '/no/such', which is no folder"
    assert item.fix == "create it, or correct or unset LABKIT_DATA"


def test_a_kernel_of_another_python_is_a_problem(monkeypatch):
    from jupyter_client.kernelspec import KernelSpec, KernelSpecManager, NoSuchKernel

    def other(self, name):
        return KernelSpec(argv=["/somewhere/else/bin/python", "-m", "ipykernel_launcher"])

    monkeypatch.setattr(KernelSpecManager, "get_kernel_spec", other)
    assert "another Python" in finding(doctor._jupyter(), "Kernel").found

    def none(self, name):
        raise NoSuchKernel(name)

    monkeypatch.setattr(KernelSpecManager, "get_kernel_spec", none)
    assert "ipykernel install" in finding(doctor._jupyter(), "Kernel").fix


def test_a_folder_that_cannot_be_written_is_a_problem(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "file" / "cache"))
    item = finding(doctor._folders(), "Cache folder")
    assert item.level == doctor.PROBLEM
    assert "LABKIT_CACHE" in item.fix


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="a system without user ids")
def test_a_user_without_a_home_gets_answers():
    """jupyterhub/helm-chart issue 27: a container runs as an id that /etc/passwd does not know, and HOME is not set."""
    start = "import os, pwd; os.environ.pop('HOME', None)\ndef no(_): raise KeyError('uid not found')\npwd.getpwuid = no\n"
    code = "from labkit import doctor; from labkit.course.exercises import overview; print(doctor.text(doctor.examine()), overview.text())"
    done = subprocess.run([sys.executable, "-c", start + code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "set HOME to a folder that can be written" in done.stdout
    assert "Next exercise" in done.stdout


def test_a_report_names_no_machine(monkeypatch, tmp_path):
    monkeypatch.setenv("LABKIT_DATA", str(tmp_path))
    monkeypatch.setattr(doctor.Path, "home", lambda: tmp_path / "me")
    assert (
        doctor._short(f"MNIST in {tmp_path}/mnist and {tmp_path}/me/x")
        == "MNIST in $LABKIT_DATA/mnist and $LABKIT_DATA/me/x"
    )
    monkeypatch.delenv("LABKIT_DATA")
    assert doctor._short(f"{tmp_path}/me/x") == "~/x"


@pytest.mark.parametrize(("level", "code"), [("ok", 0), ("note", 0), ("problem", 1)])
def test_the_exit_code_tells(monkeypatch, capsys, level, code):
    monkeypatch.setattr(doctor, "examine", lambda: [doctor.Finding("Thing", level, "found", "do this")])
    assert cli.main(["doctor"]) == code
    text = capsys.readouterr().out
    assert "fix: do this" in text
    assert ("1 problem:" in text) == bool(code)
    doctor.report()
    assert "do this" in capsys.readouterr().out


class _Shown:
    def __init__(self, monkeypatch, *levels):
        found = [
            doctor.Finding(f"thing {n}", level, f"found {n}", "<do this>") for n, level in enumerate(levels)
        ]
        monkeypatch.setattr(doctor, "examine", lambda: found)
        monkeypatch.setattr(doctor.showing, "show", lambda rich, text: setattr(self, "rich", rich))
        doctor.report()
        self.open, _, self.folded = self.rich.partition("<details>")


def test_when_all_is_well_a_notebook_shows_one_line_and_folds_the_rest(monkeypatch):
    shown = _Shown(monkeypatch, "ok", "note", "ok")
    assert "Ready: all labs can run here." in shown.open
    assert "thing" not in shown.open, "what is well stays folded"
    assert "3 things looked at, 1 note<" in shown.folded
    assert "&lt;do this&gt;" in shown.folded


def test_a_problem_and_its_fix_are_in_sight(monkeypatch):
    shown = _Shown(monkeypatch, "ok", "problem", "note")
    assert "thing 1 (problem)" in shown.open
    assert "&lt;do this&gt;" in shown.open
    assert "thing 0" not in shown.open
    assert "thing 2" not in shown.open
