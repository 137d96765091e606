"""``labkit bundle``: everything for a machine without network, nothing that may not be packed, nothing damaged unseen."""

import hashlib
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from labkit import cli
from labkit.course.labs import LABS
from labkit.course.release import needed, offline, packing

TINY = "labkit-9.9-py3-none-any.whl"


def tiny_wheel(path: Path) -> None:
    """Write a wheel that needs nothing: a labkit whose one command says where its data and results are."""
    program = (
        "import os\ndef main():\n"
        "    print(*(os.environ[name] for name in ('LABKIT_DATA', 'LABKIT_CACHE', 'LABKIT_PROFILE', 'LABKIT_OFFLINE')))\n"
    )
    files = {
        "labkit/__init__.py": "",
        "labkit/cli.py": program,
        "labkit-9.9.dist-info/METADATA": "Metadata-Version: 2.1\nName: labkit\nVersion: 9.9\n",
        "labkit-9.9.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: a test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "labkit-9.9.dist-info/entry_points.txt": "[console_scripts]\nlabkit = labkit.cli:main\n",
    }
    record = "".join(f"{name},,\n" for name in [*files, "labkit-9.9.dist-info/RECORD"])
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in {**files, "labkit-9.9.dist-info/RECORD": record}.items():
            archive.writestr(name, content)


@pytest.fixture
def bundle(tmp_path, monkeypatch):
    """Return a whole bundle around the tiny wheel."""
    monkeypatch.setenv("LABKIT_PROFILE", "smoke")
    part = tmp_path / "a bundle"
    for name in (packing.WHEELS, packing.NOTEBOOKS, packing.RESULTS, packing.DATA):
        (part / name).mkdir(parents=True)
    tiny_wheel(part / packing.WHEELS / TINY)
    (part / packing.NOTEBOOKS / "00_start_here.ipynb").write_text("{}", encoding="utf-8")
    packing.finish(part, packing.Contents(TINY, (), ("04",), "float32"))
    return part


def call(bundle: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Run the bundle's own program as its user would, with nothing of this environment but an index that must not be asked."""
    keep = {name: os.environ[name] for name in ("PATH", "HOME", "SYSTEMROOT", "TEMP") if name in os.environ}
    nowhere = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "0"}
    command = [sys.executable, str(bundle / "offline.py"), *arguments]
    return subprocess.run(command, env=keep | nowhere, capture_output=True, text=True, cwd=bundle.parent)


def test_a_bundle_installs_without_an_index_and_finds_its_own_data(bundle):
    done = call(bundle, "install")
    assert done.returncode == 0, done.stdout + done.stderr
    done = call(bundle, "labkit")
    assert done.stdout.strip() == f"{bundle / 'data'} {bundle / 'results'} smoke 1"
    # Learners write into their notebooks; a second installation is about the rest.
    (bundle / "notebooks" / "00_start_here.ipynb").write_text('{"mine": 1}', encoding="utf-8")
    (bundle / "wheels" / TINY).write_bytes(b"cut off")
    done = call(bundle, "install")
    assert done.returncode == 2
    assert f"wheels/{TINY}" in done.stdout
    assert "00_start_here" not in done.stdout


def test_starting_before_installing_and_a_lost_list_of_checksums_are_told(bundle):
    for command in ("start", "labkit"):
        done = call(bundle, command)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == "nothing is installed here yet; first: python3 offline.py install\n"
    (bundle / "SHA256SUMS").unlink()
    done = call(bundle, "install")
    assert done.returncode == 2
    assert "SHA256SUMS" in done.stdout


def test_checksums_cover_every_file_and_a_missing_one_is_named(bundle):
    lines = (bundle / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    sums = dict(reversed(line.split("  ", 1)) for line in lines)
    files = {path.relative_to(bundle).as_posix(): path for path in bundle.rglob("*") if path.is_file()}
    assert set(sums) == set(files) - {"SHA256SUMS"}
    assert all(
        hashlib.sha256(files[name].read_bytes()).hexdigest() == sha256 for name, sha256 in sums.items()
    )
    (bundle / "notebooks" / "00_start_here.ipynb").unlink()
    done = call(bundle, "install")
    assert done.returncode == 2
    assert "notebooks/00_start_here.ipynb" in done.stdout
    assert not (bundle / ".venv").exists(), "nothing is made of a damaged bundle"


@pytest.mark.parametrize(("key", "value"), [("python", "3.2"), ("platform", "beos-ppc")])
def test_another_python_or_platform_is_refused_before_anything_is_made(bundle, key, value):
    settings = json.loads((bundle / offline.SETTINGS).read_text(encoding="utf-8"))
    (bundle / offline.SETTINGS).write_text(json.dumps(settings | {key: value}), encoding="utf-8")
    done = call(bundle, "install")
    assert done.returncode == 2
    assert value in done.stdout
    assert not (bundle / ".venv").exists()


@pytest.mark.parametrize("record", ["decoded/mnist-02c7.npz", "downloads/MNIST/raw/t10k-images-idx3-ubyte"])
def test_records_of_real_data_sets_are_never_packed(tmp_path, record):
    names = ["decoded/mnist-stand-in-a5.npz", "features/01.pt", record]
    for name in names:
        (tmp_path / "cache" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "cache" / name).write_text(name, encoding="utf-8")
    with pytest.raises(packing.BundleError, match="may not hold"):
        packing.take(tmp_path / "cache", tmp_path / "results", names, own=False)
    assert not (tmp_path / "results").exists(), "what was computed from them stays, too"
    packing.take(tmp_path / "cache", tmp_path / "results", names[:2], own=False)
    packing.take(tmp_path / "cache", tmp_path / "own", names, own=True)
    for folder in ("results", "own"):
        packed = {path.relative_to(tmp_path / folder).as_posix() for path in (tmp_path / folder).rglob("*.*")}
        assert packed == set(names[:2])


def test_own_data_goes_along_only_when_asked_for(tmp_path, monkeypatch):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "breastmnist.npz").write_bytes(b"my own file")
    monkeypatch.setenv("LABKIT_DATA", str(mine))
    assert "breastmnist" in packing._own_files(tmp_path / "data")
    assert (tmp_path / "data" / "breastmnist.npz").read_bytes() == b"my own file"
    readme = packing.Contents("w", (), (), "float32", own=("breastmnist",))
    (tmp_path / "part").mkdir()
    packing.finish(tmp_path / "part", readme)
    assert "your own files of breastmnist" in (tmp_path / "part" / "README.md").read_text(encoding="utf-8")


def test_what_a_lab_opens_or_counts_is_what_is_packed(tmp_path):
    """In a process of its own, as an audit hook stays for good."""
    program = """
import sys
from labkit import cache
from labkit.course.notebooks import run
from labkit.course.release import needed
root = cache.directory()
for name in ("features/used.pt", "features/stale.pt", "shadows/a/bank.json", "shadows/a/model-000.pt", "shadows/b/bank.json"):
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(name)
(root / "precision").mkdir()
(root / "precision" / "machine.json").write_text("{}")
def prepare(number):
    for name in ("features/used.pt", "precision/machine.json"):
        (root / name).read_text()
    assert (root / "shadows/a/bank.json").is_file() and not (root / "shadows/c/bank.json").exists()
run.prepare = prepare
print(needed.looked_for(["04"]))
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"LABKIT_CACHE": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "['features/used.pt', 'shadows/a/bank.json', 'shadows/a/model-000.pt']", (
        done.stderr
    )
    assert needed.MACHINES_OWN == ("precision",), "what is measured on one machine says nothing of another"


def test_a_folder_with_something_in_it_and_an_unknown_lab_are_refused_first(tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")
    assert cli.main(["bundle", str(tmp_path)]) == 2
    assert "not empty" in capsys.readouterr().err
    assert cli.main(["bundle", str(tmp_path / "new"), "--labs", "77"]) == 2
    assert "no lab '77'" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_whole_bundle_runs_offline_and_a_prepared_lab_starts_at_once(tmp_path, monkeypatch):
    """All wheels, the smoke results of lab 13 and of the labs it builds on; then an environment of the bundle alone."""
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "cache"))
    assert cli.main(["bundle", str(tmp_path / "bundle"), "--profile", "smoke", "--labs", "13"]) == 0
    bundle = tmp_path / "bundle"
    assert {path.stem for path in (bundle / "notebooks").glob("*.ipynb")} == {lab.name for lab in LABS}
    assert not any((bundle / "data").iterdir()), "no data set of this machine's"
    done = call(bundle, "install")
    assert done.returncode == 0, done.stdout + done.stderr
    before = {path for path in (bundle / "results").rglob("*") if path.is_file()}
    done = call(bundle, "labkit", "prepare", "13")
    assert done.returncode == 0, done.stderr
    after = {path for path in (bundle / "results").rglob("*") if path.is_file()}
    assert after == before, "everything that it asks for was there"
    done = call(bundle, "labkit", "run", "00", "--out", str(tmp_path / "runs"))
    assert done.returncode == 0, done.stderr
