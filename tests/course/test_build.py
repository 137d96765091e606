"""The build: one source, two notebooks that agree, work that is never lost, and errors that say what is missing."""

import base64
import re
from pathlib import Path

import nbformat
import pytest

from labkit import cache
from labkit.course.labs import Lab, lab
from labkit.course.notebooks import build, source

LAB = lab("00")
TEXT = (cache.checkout() / "solutions" / "00_start_here.py").read_text(encoding="utf-8")


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A checkout of its own with lab 00's source, so that nothing real is written."""
    (tmp_path / "solutions").mkdir()
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "solutions" / "00_start_here.py").write_text(TEXT, encoding="utf-8")
    monkeypatch.setattr(build, "checkout", lambda: tmp_path)
    return tmp_path


def learner_path(course: Path) -> Path:
    return course / "notebooks" / "00_start_here.ipynb"


def _cells(course: Path) -> list[nbformat.NotebookNode]:
    return nbformat.read(learner_path(course), 4).cells


def test_same_source_same_bytes():
    first, second = (source.solution(LAB, TEXT) for _ in range(2))
    assert build.text(first) == build.text(second)
    assert build.text(source.learner(first)) == build.text(source.learner(second))


def test_cell_ids_stay_when_a_cell_is_added():
    before = {cell.id for cell in source.solution(LAB, TEXT).cells}
    after = {cell.id for cell in source.solution(LAB, TEXT + "\n# %% [markdown]\n# One more.\n").cells}
    assert before < after
    assert len(after) == len(before) + 1
    repeated = source.solution(LAB, TEXT + "\n# %%\n1\n\n# %%\n1\n").cells
    assert len({cell.id for cell in repeated}) == len(repeated), "equal cells still have ids of their own"


def test_answers_fold_after_the_hints_and_only_there():
    solved = source.solution(LAB, TEXT)
    copy, handout = source.learner(solved), source.handout(solved)
    answer = "return batch.flatten(start_dim=1).norm(dim=1)"
    where = [cell for cell in copy.cells if answer in cell.source]
    assert [cell.cell_type for cell in where] == ["markdown"]
    assert where[0].source.index("Hint 3") < where[0].source.index("<summary>Answer</summary>")
    assert not any(answer in cell.source for cell in handout.cells)
    assert any(answer in cell.source for cell in solved.cells), "the solution itself is left alone"


def test_heading_carries_the_facts_of_the_exercise():
    text = "\n".join(cell.source for cell in source.learner(source.solution(LAB, TEXT)).cells)
    assert "### Exercise 00.interval: a mean with its interval\n*Difficulty ●●●○○ (3 of 5)" in text


def test_grading_metadata():
    cells = source.solution(LAB, TEXT).cells
    grading = {
        cell.metadata.nbgrader.grade_id: cell.metadata.nbgrader
        for cell in cells
        if "nbgrader" in cell.metadata
    }
    answer, check = grading["00_interval"], grading["00_interval_check"]
    assert (answer.solution, answer.grade, answer.locked, "points" in answer) == (True, False, False, False)
    assert (check.solution, check.grade, check.locked, check.points) == (False, True, True, 2)
    assert answer.schema_version == check.schema_version == 3


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("<summary>Hint 3</summary>", "<summary>Hint 2</summary>", "hint"),
        ('check("00.interval", interval)', "check_later", "check cell"),
        ("    ### BEGIN SOLUTION\n", "", "solution cell|without"),
        ("    ### END SOLUTION\n", "", "BEGIN|closed|inside"),
        ("### Exercise 00.first_check: your first check", "text", "before the first"),
    ],
)
def test_an_incomplete_exercise_is_refused(old, new, says):
    with pytest.raises(source.SourceError, match=says):
        source.learner(source.solution(LAB, TEXT.replace(old, new, 1)))


FIGURE = """
# %% tags=["hide-input"]
fig, ax = plots.figure()
plots.show(plots.describe(fig, "Nothing at all, on two axes."))
"""


def test_code_that_only_draws_is_folded_in_both_copies():
    solved = source.solution(LAB, TEXT + FIGURE)
    for book in (solved, source.learner(solved)):
        folded = [cell for cell in book.cells if cell.metadata.get("jupyter", {}).get("source_hidden")]
        assert "Nothing at all" in folded[-1].source
        assert all("hide-input" in cell.metadata.tags for cell in folded), "what Jupyter Book reads"
        assert all("plots.show" in cell.source for cell in folded)


@pytest.mark.parametrize(
    "drawn",
    ["1 + 1", 'check("00.interval", interval)\nplots.show(fig)', "### BEGIN SOLUTION\nplots.show(fig)"],
)
def test_a_cell_that_a_learner_has_to_see_is_not_folded(drawn):
    with pytest.raises(source.SourceError, match="only code that draws"):
        source.solution(LAB, TEXT + f'\n# %% tags=["hide-input"]\n{drawn}\n')


def test_every_section_begins_a_cell():
    cells = source.solution(LAB, TEXT).cells
    assert not [cell.source for cell in cells if cell.cell_type == "markdown" and "\n## " in cell.source]
    assert sum(cell.source.startswith("## ") for cell in cells) == len(re.findall("^# ## ", TEXT, re.M))


def test_unknown_exercise_in_a_heading_is_refused():
    with pytest.raises(LookupError, match=r"00\.interval"):
        source.solution(LAB, TEXT.replace("### Exercise 00.interval", "### Exercise 00.intervall"))


def test_build_writes_then_has_nothing_to_do(course):
    assert len(build.build(["00"])) == 2
    assert build.build(["00"]) == []
    assert build.build(["00"], check=True) == []


def test_check_finds_an_edit_and_writes_nothing(course):
    build.build(["00"])
    file = course / "solutions" / "00_start_here.py"
    file.write_text(TEXT.replace("Start here", "Start now"), encoding="utf-8")
    before = learner_path(course).read_bytes()
    assert len(build.build(["00"], check=True)) == 2
    assert learner_path(course).read_bytes() == before


@pytest.mark.parametrize(
    ("writing", "named"),
    [({"run": True}, "--execute"), ({"classroom": Path("x")}, "--classroom"), ({"force": True}, "--force")],
)
def test_check_refuses_what_writes(course, writing, named):
    with pytest.raises(build.BuildError, match=f"--check writes nothing, so it goes without {named}"):
        build.build(["00"], check=True, **writing)
    assert not learner_path(course).exists()


def test_work_in_a_learner_copy_is_not_overwritten(course):
    build.build(["00"])
    notebook = nbformat.read(learner_path(course), 4)
    work = next(cell for cell in notebook.cells if source.STUB in cell.source)
    work.source = work.source.replace(source.STUB, "return 0.5")
    nbformat.write(notebook, learner_path(course))
    with pytest.raises(build.BuildError, match="--force"):
        build.build(["00"])
    build.build(["00"], force=True)
    assert any(cell.source == work.source.replace("return 0.5", source.STUB) for cell in _cells(course))


def test_a_copy_that_was_only_run_is_rebuilt(course):
    build.build(["00"])
    notebook = nbformat.read(learner_path(course), 4)
    notebook.cells[1].execution_count = 1
    nbformat.write(notebook, learner_path(course))
    assert build.build(["00"]) == [learner_path(course)]


def test_outputs_are_kept_while_code_is_unchanged(course):
    build.build(["00"])
    path = course / "solutions" / "00_start_here.ipynb"
    solved = nbformat.read(path, 4)
    code = [cell for cell in solved.cells if cell.cell_type == "code"]
    code[0].outputs = [nbformat.v4.new_output("stream", name="stdout", text="an old output\n")]
    nbformat.write(solved, path)
    file = course / "solutions" / "00_start_here.py"
    file.write_text(TEXT.replace("# Start here", "# Start now", 1), encoding="utf-8")
    build.build(["00"])
    assert "an old output" in path.read_text(encoding="utf-8"), "prose may change"
    laid_out = TEXT.replace("bins=40)", "bins=40,  # forty\n)").replace('("00")', '(\n    "00"\n)')
    assert laid_out != TEXT
    file.write_text(laid_out, encoding="utf-8")
    build.build(["00"])
    assert "an old output" in path.read_text(encoding="utf-8"), "so may the layout of code, and remarks"
    file.write_text(TEXT.replace("bins=40", "bins=41"), encoding="utf-8")
    build.build(["00"])
    assert "an old output" not in path.read_text(encoding="utf-8"), "code may not"


def test_classroom_copies_have_no_answers(course, tmp_path):
    out = tmp_path / "class"
    build.build(["00"], classroom=out)
    handout = (out / "handouts" / "00_start_here.ipynb").read_text(encoding="utf-8")
    assert "Answer</summary>" not in handout
    assert "BEGIN SOLUTION" not in handout
    assert "Hint 3" in handout
    assert "BEGIN SOLUTION" in (out / "source" / "00_start_here" / "00_start_here.ipynb").read_text(
        encoding="utf-8"
    )
    assert "code_stub" in (out / "nbgrader_config.py").read_text(encoding="utf-8")


def test_an_instructors_edits_are_never_overwritten_without_a_word(course, tmp_path):
    out = tmp_path / "class"
    build.build(["00"], classroom=out)
    build.build(["00"], classroom=out)  # nothing was edited: written anew without a word
    config = out / "nbgrader_config.py"
    handout = out / "handouts" / "00_start_here.ipynb"
    config.write_text(config.read_text(encoding="utf-8") + "c.mine = True\n", encoding="utf-8")
    handout.unlink()
    with pytest.raises(build.BuildError, match=r"nbgrader_config\.py"):
        build.build(["00"], classroom=out)
    assert not handout.exists(), "nothing is written beside a file that stands in the way"
    build.build(["00"], classroom=out, force=True)
    assert "c.mine" not in config.read_text(encoding="utf-8")
    assert "c.mine" in config.with_name("nbgrader_config.py.yours").read_text(encoding="utf-8")
    assert handout.is_file()


def test_missing_source_and_installed_wheel_say_so(course, monkeypatch):
    with pytest.raises(build.BuildError, match=r"03_\w+\.py is missing"):
        build.build(["03"])
    with pytest.raises(LookupError, match="the labs are: 00, 01"):
        build.build(["77"])
    monkeypatch.undo()
    monkeypatch.setattr(cache, "checkout", lambda: None)
    with pytest.raises(build.BuildError, match="clone"):
        build.build([])


def test_a_lab_has_one_name():
    assert Lab("07", "marks", "t", "p", 1, (1, 1, 1)).name == "07_marks"


def test_every_figure_marked_as_poster_is_saved_once(tmp_path):
    def cell(picture: bytes, **marks: bool) -> nbformat.NotebookNode:
        data = {"image/png": base64.b64encode(picture).decode(), "text/plain": "a figure"}
        output = nbformat.v4.new_output("display_data", data, metadata={"image/png": {"alt": "x", **marks}})
        return nbformat.v4.new_code_cell("1", outputs=[output])

    cells = [cell(b"first", poster=True), cell(b"none"), cell(b"second", poster=True)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    saved = build._posters(LAB, notebook, tmp_path)
    assert [(path.name, path.read_bytes()) for path in saved] == [
        ("00.png", b"first"),
        ("00_2.png", b"second"),
    ]
    assert build._posters(LAB, notebook, tmp_path) == [], "nothing changed, nothing is written"
