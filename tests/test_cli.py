"""The command line: quick, helpful, and clear about what is missing."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import types

import nbformat
import psutil
import pytest

from labkit import cache, cli
from labkit.course import labs
from labkit.course.notebooks import build, execute, page, run


def main(*arguments):
    return cli.main(list(arguments))


@pytest.mark.parametrize(
    "command", ["", "doctor", "data", "prepare", "run", "build", "classroom", "progress", "bench", "bundle"]
)
def test_every_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main(*command.split(), "--help")
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert "labkit" in text
    if command:
        assert "examples:" in text
        assert f"labkit {command}" in text


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from labkit import cli\n"
        "try: cli.main(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'matplotlib', 'pandas', 'scipy', 'nbconvert', 'IPython', 'numpy'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["run", "77"], "the labs are: 00, 01"),
        (["prepare", "88"], "the labs are: 00, 01"),
        (["build", "99"], "the labs are: 00, 01"),
        (["data", "--fetch", "minst"], "minst"),
        (["build", "00", "--check", "--execute"], "without --execute"),
    ],
)
def test_errors_are_one_message_without_a_traceback(arguments, says, capsys):
    assert main(*arguments) == 2
    error = capsys.readouterr().err
    assert says in error
    assert "Traceback" not in error


def test_an_unknown_profile_is_a_usage_error(monkeypatch, capsys):
    monkeypatch.setenv("LABKIT_PROFILE", "tiny")
    with pytest.raises(SystemExit):
        main("progress")
    assert "smoke, laptop, full" in capsys.readouterr().err


def test_a_fault_keeps_its_traceback(monkeypatch):
    def broken(options):
        raise KeyError("a bug")

    broken.__name__ = "progress"
    monkeypatch.setattr(cli, "progress", broken)
    with pytest.raises(KeyError):
        main("progress")


def test_data_lists_what_is_here(capsys):
    assert main("data", "--fetch", "breast_cancer") == 0
    assert re.search(r"breast_cancer\s+verified\s+Wisconsin", capsys.readouterr().out)


def test_data_names_a_wrong_folder_once(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("LABKIT_DATA", str(tmp_path / "nowhere"))
    assert main("data") == 2
    said = capsys.readouterr()
    assert said.err.count("which is no folder") == 1
    assert said.out == ""


def test_progress_prints_the_overview(capsys):
    assert main("progress") == 0
    assert "0 of 4" in capsys.readouterr().out


def test_prepare_without_work_says_so(capsys):
    assert main("prepare", "0") == 0
    assert "lab 00 has no one-off work" in capsys.readouterr().out


@pytest.mark.parametrize("subject", cli.BENCHES)
def test_bench_passes_its_arguments_on_to_the_subject(subject, monkeypatch):
    seen = []
    module = types.ModuleType(cli.BENCHES[subject][0])
    module.main = lambda arguments, *_: seen.append(arguments)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    assert main("bench", subject, "--quick", "3") == 0
    assert seen == [["--quick", "3"]]


def test_bench_of_an_unknown_subject_names_those_there_are(capsys):
    with pytest.raises(SystemExit):
        main("bench", "quantum")
    error = capsys.readouterr().err
    assert all(subject in error for subject in ("quantum", *cli.BENCHES))


def test_build_check_reports_by_its_exit_code(monkeypatch, tmp_path, capsys):
    (tmp_path / "solutions").mkdir()
    source = (cache.checkout() / "solutions" / "00_start_here.py").read_text(encoding="utf-8")
    (tmp_path / "solutions" / "00_start_here.py").write_text(source, encoding="utf-8")
    monkeypatch.setattr(build, "checkout", lambda: tmp_path)
    assert main("build", "--check") == 1
    assert "differs from its source" in capsys.readouterr().out
    assert main("build") == 0
    assert main("build", "--check") == 0


@pytest.fixture
def tiny_lab(monkeypatch, tmp_path):
    """A lab of three cells in a folder of its own, so that running one takes a second."""
    lab = labs.Lab("97", "tiny", "A tiny lab", "test", 1, (1, 1, 1))
    monkeypatch.setattr(labs, "LABS", (*labs.LABS, lab))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LABKIT_PROFILE", "smoke")
    cells = [
        nbformat.v4.new_markdown_cell(
            r"# Tiny" "\n\n" r"$\varepsilon \le 3$ and $$\Pr[A] = \frac{1}{2}$$ and $\nonsense{$"
        ),
        nbformat.v4.new_code_cell("import os, sys\nprint(os.environ['LABKIT_PROFILE'], sys.executable)"),
        nbformat.v4.new_code_cell(
            "import ipywidgets\nfrom labkit import plots\n"
            "def draw(bins):\n    fig, ax = plots.figure(2, 1)\n    ax.plot([0, bins])\n"
            "    plots.show(plots.describe(fig, 'A line that rises from nought to the number of bins.'))\n"
            "slider = ipywidgets.IntSlider(3)\n"
            "display(ipywidgets.VBox([slider, ipywidgets.interactive_output(draw, {'bins': slider})]))\n"
            "print('noise', file=sys.stderr)"
        ),
    ]
    (tmp_path / "notebooks").mkdir()
    path = tmp_path / "notebooks" / "97_tiny.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


def test_run_leaves_a_notebook_and_a_page_that_fetches_nothing(tiny_lab, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("LABKIT_PROFILE", "laptop")
    assert main("run", "97", "--profile", "smoke", "--out", "results") == 0
    os.environ.pop("LABKIT_PROFILE", None)
    done = nbformat.read(tmp_path / "results" / "97_tiny.ipynb", 4)
    assert done.cells[1].outputs[0].text.split() == ["smoke", sys.executable], "this interpreter's own kernel"
    kinds = [sorted(output.get("data", {"stream": 0})) for output in done.cells[2].outputs]
    assert kinds == [["image/png", "text/plain"]], (
        "the widget became its picture, and standard error is not kept"
    )
    text = (tmp_path / "results" / "97_tiny.html").read_text(encoding="utf-8")
    assert text.count("<math") == 2
    assert "<code>\\nonsense{</code>" in text, "what cannot be converted stays readable"
    assert 'alt="A line that rises' in text
    assert "data:image/png;base64" in text
    assert not page.FETCH.search(text)
    assert "<script" not in text
    assert "noise" in capsys.readouterr().err


def test_run_keeps_what_it_executed_and_names_the_cell_that_fails(tiny_lab, tmp_path, capsys):
    """nbconvert issues 626, 1477 and 1662: a failing cell, and hours of outputs are gone."""
    notebook = nbformat.read(tiny_lab, 4)
    notebook.cells[2].source = "def f():\n    return 1 / 0\nf()"
    nbformat.write(notebook, tiny_lab)
    assert main("run", "97", "--out", "results") == 2
    error = capsys.readouterr().err
    assert "code cell 2 stopped: ZeroDivisionError" in error
    assert "\x1b[" not in error
    kept = nbformat.read(tmp_path / "results" / "97_tiny.ipynb", 4)
    assert sys.executable in kept.cells[1].outputs[0].text
    assert kept.cells[2].outputs[0].ename == "ZeroDivisionError"


def test_run_shows_a_picture_of_the_web_as_a_link(tiny_lab, tmp_path):
    notebook = nbformat.read(tiny_lab, 4)
    notebook.cells = [nbformat.v4.new_markdown_cell("My note: ![a plot](https://example.org/plot.png)")]
    nbformat.write(notebook, tiny_lab)
    assert main("run", "97", "--out", "results") == 0
    text = (tmp_path / "results" / "97_tiny.html").read_text(encoding="utf-8")
    assert '<a href="https://example.org/plot.png">a plot</a>' in text
    assert not page.FETCH.search(text)


def test_run_keeps_the_notebook_where_the_page_cannot_be_made(tiny_lab, tmp_path, capsys):
    notebook = nbformat.read(tiny_lab, 4)
    notebook.cells[0].source = '<img src="https://example.org/plot.png">'
    nbformat.write(notebook, tiny_lab)
    assert main("run", "97", "--out", "results") == 2
    assert "embed it in the notebook" in capsys.readouterr().err
    assert sys.executable in (tmp_path / "results" / "97_tiny.ipynb").read_text(encoding="utf-8")


def test_run_takes_notebooks_of_older_programs_and_of_other_kernels(tiny_lab, tmp_path):
    """Format 4.4 has no cell ids (colabtools issue 5402); a conda kernel's name means nothing here (nbval issue 106)."""
    old = json.loads(tiny_lab.read_text(encoding="utf-8"))
    old["nbformat_minor"] = 4
    old["metadata"]["kernelspec"] = {"name": "conda-env-py37-py", "display_name": "Python [conda env:py37]"}
    old["cells"] = [cell | {"metadata": {}} for cell in old["cells"][:2]]
    for cell in old["cells"]:
        cell.pop("id")
    tiny_lab.write_text(json.dumps(old), encoding="utf-8")
    assert main("run", "97", "--out", "results") == 0
    assert sys.executable in (tmp_path / "results" / "97_tiny.ipynb").read_text(encoding="utf-8")


def test_run_and_classroom_work_below_spaces_and_umlauts(tiny_lab, tmp_path, monkeypatch):
    """sio/Makefile.venv issue 5, ivanlen/pipreqsnb issue 24: spaces in the path."""
    odd = tmp_path / "mit Leerzeichen ü"
    tiny_lab.parent.rename(odd.parent / "moved")
    odd.mkdir()
    (odd.parent / "moved").rename(odd / "notebooks")
    monkeypatch.chdir(odd)
    monkeypatch.setenv("LABKIT_CACHE", str(odd / "cache"))
    assert main("run", "97", "--out", "results") == 0
    assert sys.executable in (odd / "results" / "97_tiny.ipynb").read_text(encoding="utf-8")
    item = labs.lab("00")
    written = build._classroom({item: build.make(item, build.checkout())[0]}, odd / "kurs", force=False)
    assert all(path.is_file() for path in written)


def test_a_cell_with_an_interactive_widget_returns(tmp_path):
    """nbclient issue 312, nbconvert issue 2029: sometimes it waits for ever; three runs, 40 seconds a cell at most."""
    cells = (
        "import ipywidgets\nfrom IPython.display import HTML\n"
        "ipywidgets.interact(lambda x: HTML(x), x=ipywidgets.Dropdown(options=list('abc')))",
        "print(1 + 1)",
    )
    for _ in range(3):
        book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        execute.execute(book, tmp_path, "widgets", cell_timeout=40)
        assert book.cells[1].outputs[0].text.strip() == "2"


@pytest.mark.skipif(os.name == "nt", reason="a shell's pipe")
def test_a_reader_that_stops_early_is_no_error():
    command = f"{shlex.quote(sys.executable)} -m labkit.cli progress | head -n 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert done.stdout.startswith("Lab")
    assert done.stderr == ""


def test_output_of_a_poor_encoding_is_no_error(tmp_path):
    poor = os.environ | {"PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0"}
    code = "import sys; from labkit import cli; cli.progress = lambda o: print('ε ≤ 3') or 0; cli.progress.__name__ = 'progress'; sys.exit(cli.main(['progress']))"
    done = subprocess.run([sys.executable, "-c", code], env=poor, capture_output=True)
    assert (done.returncode, done.stdout.strip()) == (0, b"epsilon ? 3")


def test_figures_need_no_display():
    """nipreps/mriqc issue 891: drawn with a backend for screens, and no screen."""
    headless = {key: value for key, value in os.environ.items() if key != "DISPLAY"} | {"MPLBACKEND": "TkAgg"}
    code = "import io; from labkit import plots; f, a = plots.figure(); a.plot([1, 2]); f.savefig(io.BytesIO()); print('drawn')"
    done = subprocess.run([sys.executable, "-c", code], env=headless, capture_output=True, text=True)
    assert done.stdout.strip() == "drawn", done.stderr


def test_run_means_its_folders_as_seen_from_the_caller(tiny_lab, tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    (tmp_path / "mine").mkdir()
    notebook = nbformat.read(tiny_lab, 4)
    names = ("LABKIT_DATA", "LABKIT_CACHE", "LABKIT_PROGRESS_FILE")
    notebook.cells[1:] = [nbformat.v4.new_code_cell(f"import os\nprint(*map(os.environ.get, {names}))")]
    nbformat.write(notebook, tiny_lab)

    def seen():
        assert main("run", "97", "--out", "results") == 0
        return nbformat.read(tmp_path / "results" / "97_tiny.ipynb", 4).cells[1].outputs[0].text.split()

    for name, value in zip(names, ("mine", "kept", "p.json"), strict=True):
        monkeypatch.setenv(name, value)
    assert seen() == [str(tmp_path / "mine"), str(tmp_path / "kept"), str(tmp_path / "p.json")]
    monkeypatch.delenv("LABKIT_DATA")
    monkeypatch.setattr(cache, "checkout", lambda: None)  # an installed wheel looks in the caller's data/
    assert seen()[0] == str(tmp_path / "data")


def test_run_refuses_an_output_folder_that_cannot_be_written(tiny_lab, tmp_path, capsys):
    (tmp_path / "afile").write_text("in the way")
    for out in ("afile", "afile/below"):
        assert main("run", "97", "--out", out) == 2
        error = capsys.readouterr().err
        assert f"--out is '{out}', expected a folder" in error
        assert "choose another" in error


@pytest.mark.parametrize("content", ["not JSON", "{}", "[1]"])
def test_run_names_a_damaged_notebook(tiny_lab, content, capsys):
    tiny_lab.write_text(content)
    assert main("run", "97", "--out", "results") == 2
    error = capsys.readouterr().err
    assert "97_tiny.ipynb cannot be read" in error
    assert "labkit build 97" in error


def test_ctrl_c_stops_a_run_and_its_kernel(tiny_lab, tmp_path, capfd):
    before = signal.getsignal(signal.SIGINT)
    notebook = nbformat.read(tiny_lab, 4)
    notebook.cells[1].source = (
        "import os, pathlib, signal, time\npathlib.Path('kernel').write_text(str(os.getpid()))\n"
        "os.kill(os.getppid(), signal.SIGINT)\ntime.sleep(100)"
    )
    nbformat.write(notebook, tiny_lab)
    assert main("run", "97", "--out", "results") == 130
    error = capfd.readouterr().err
    assert "stopped" in error
    assert "Traceback" not in error
    assert not psutil.pid_exists(int((tmp_path / "results" / "kernel").read_text()))
    assert signal.getsignal(signal.SIGINT) is before


def test_a_lab_that_is_nowhere_says_where_it_was_looked_for(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    lab = labs.Lab("98", "gone", "Gone", "test", 1, (1, 1, 1))
    monkeypatch.setattr(labs, "LABS", (lab,))
    with pytest.raises(run.RunError, match=r"98_gone\.ipynb is not in .*labkit build 98"):
        run.run("98", tmp_path)


@pytest.mark.parametrize(
    "source",
    [
        '<img src="https://example.org/x.png">',
        '<script src="//cdn.example.org/x.js"></script>',
        "<style>@import 'x.css'</style>",
    ],
)
def test_a_page_that_would_fetch_is_refused(source):
    with pytest.raises(page.PageError, match="from the web"):
        page.page(nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(source)]), "title")
    link = nbformat.v4.new_markdown_cell("[a paper](https://arxiv.org/abs/1607.00133)")
    assert "arxiv.org" in page.page(nbformat.v4.new_notebook(cells=[link]), "title"), "links are fine"


@pytest.mark.parametrize("action", ["deploy", "enrol", "certify"])
def test_each_step_of_a_deployment_is_reached_and_explains_itself(action, capsys):
    with pytest.raises(SystemExit) as end:
        main("federated", action, "--help")
    assert end.value.code == 0
    assert f"labkit federated {action}" in capsys.readouterr().out
