"""A lab through nbgrader: generate, autograde right, wrong and cut submissions, feedback, all as nbgrader ships."""

import os
import sys
from pathlib import Path

import nbformat
import pytest
from editors import saved_by_vscode

from labkit.course.labs import lab
from labkit.course.notebooks import build, source

pytest.importorskip("nbgrader", reason="the classroom extra is not installed")

LAB = lab("00")
MISTAKE = "return None"


@pytest.fixture(scope="module", autouse=True)
def _activated():
    """nbgrader calls alembic by name: it expects an activated environment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
        yield


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """An nbgrader course made by the build: one submission is right and saved by VS Code, one wrong, one right but cut."""
    from nbgrader.apps import NbGraderAPI
    from traitlets.config.loader import PyFileConfigLoader

    folder = tmp_path_factory.mktemp("nbgrader")
    build._classroom({LAB: build.make(LAB, build.checkout())[0]}, folder, force=False)
    config = PyFileConfigLoader(str(folder / "nbgrader_config.py")).load_config()
    config.CourseDirectory.root = str(folder)
    config.NbGrader.db_url = f"sqlite:///{folder / 'gradebook.db'}"
    api = NbGraderAPI(config=config)
    released = succeed(api.generate_assignment(LAB.name))
    assert released
    release = nbformat.read(folder / "release" / LAB.name / f"{LAB.name}.ipynb", 4)
    solved = nbformat.read(folder / "source" / LAB.name / f"{LAB.name}.ipynb", 4)
    submit(folder, "right", release, {key: cell.source for key, cell in exercises(solved).items()})
    wrong = {key: cell.source for key, cell in exercises(solved).items()}
    first = next(iter(wrong))
    wrong[first] = exercises(release)[first].source.replace(source.STUB, MISTAKE)
    submit(folder, "wrong", release, wrong)
    cut = nbformat.from_dict(release)
    cut.cells.remove(next(cell for cell in cut.cells if cell.metadata.get("nbgrader", {}).get("grade")))
    submit(folder, "cut", cut, {key: cell.source for key, cell in exercises(solved).items()})
    path = folder / "submitted" / "right" / LAB.name / f"{LAB.name}.ipynb"
    path.write_text(saved_by_vscode(nbformat.read(path, 4)), encoding="utf-8")
    return folder, api, release, first


def succeed(result: dict) -> bool:
    assert result["success"], result.get("log") or result.get("error")
    return True


def exercises(notebook) -> dict[str, nbformat.NotebookNode]:
    """Return the cells that a student fills in, by grade id."""
    marked = [cell for cell in notebook.cells if cell.metadata.get("nbgrader", {}).get("solution")]
    return {cell.metadata.nbgrader.grade_id: cell for cell in marked}


def submit(folder: Path, student: str, release, answers: dict[str, str]) -> None:
    notebook = nbformat.from_dict(release)
    for key, cell in exercises(notebook).items():
        cell.source = answers[key]
    path = folder / "submitted" / student / LAB.name / f"{LAB.name}.ipynb"
    path.parent.mkdir(parents=True)
    nbformat.write(notebook, path)


def test_release_agrees_with_the_handout(course):
    folder, _, release, _ = course
    handout = nbformat.read(folder / "handouts" / f"{LAB.name}.ipynb", 4)
    assert [cell.source for cell in release.cells] == [cell.source for cell in handout.cells]
    _, learner = build.make(LAB, build.checkout())
    code = [[cell.source for cell in book.cells if cell.cell_type == "code"] for book in (release, learner)]
    assert code[0] == code[1], "what nbgrader hands out and what self-paced learners get is one notebook"


@pytest.mark.parametrize("student", ["right", "wrong", "cut"])
def test_autograde_and_feedback(course, student, monkeypatch):
    """A deleted check cell is put back and graded: nbgrader issue 1682, by an option that the build writes."""
    folder, api, _, failed = course
    monkeypatch.setenv("LABKIT_PROFILE", "smoke")
    monkeypatch.setenv("LABKIT_PROGRESS", "0")
    succeed(api.autograde(LAB.name, student))
    assert "NBGRADER_EXECUTION" not in os.environ
    with api.gradebook as gradebook:
        grades = gradebook.find_submission_notebook(LAB.name, LAB.name, student).grades
        scores = {grade.name: (grade.auto_score, grade.max_score) for grade in grades}
    points = {key: score for key, score in scores.items() if score[1]}
    assert len(points) == len(exercises(course[2])), "each check counts"
    lost = {key for key, (score, most) in points.items() if score != most}
    assert lost == ({f"{failed}_check"} if student == "wrong" else set())
    succeed(api.generate_feedback(LAB.name, student))
    page = folder / "feedback" / student / LAB.name / f"{LAB.name}.html"
    text = page.read_text(encoding="utf-8")
    assert ("✗ Not yet" in text) == (student == "wrong"), "the feedback shows what the check said"
