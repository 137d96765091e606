"""``labkit classroom grade``: what a student's code may cost, and what it may not."""

import csv

import nbformat
import pytest

from labkit import cli
from labkit.course import grading
from labkit.course.grading import submission
from labkit.course.labs import lab
from labkit.course.notebooks import build, source

LAB = lab("00")
RIGHT = "return float((predicted == labels).float().mean())"


@pytest.fixture(scope="module")
def handed_out(tmp_path_factory):
    """Return (questions, solved notebook) of lab 00, from its own source: two exercises are enough here."""
    solved = source.solution(LAB, build.places(LAB, build.checkout()).source.read_text(encoding="utf-8"))
    path = tmp_path_factory.mktemp("handout") / "handout.ipynb"
    nbformat.write(source.handout(solved), path)
    asked = submission.questions(LAB, path)
    assert len(asked) == 4
    return {id: asked[id] for id in ("00.first_check", "00.per_sample_norms")}, solved


def with_answer(solved, body: str, before: str = ""):
    """Return the solved notebook with another body of the first exercise's function, and lines before it."""
    book = nbformat.from_dict(solved)
    cell = next(c for c in book.cells if "def accuracy" in c.source and c.cell_type == "code")
    head = cell.source[: cell.source.index("    ### BEGIN")]
    cell.source = f"{before}\n{head}    {body}"
    return book


def statuses(asked, book, seconds=60, megabytes=2048):
    hidden = submission.hidden_folders(build.checkout() / "nowhere")
    outcomes = submission.grade(LAB, asked, book, seconds=seconds, megabytes=megabytes, hidden=hidden)
    assert outcomes["00.per_sample_norms"].status == "passed", "the innocent exercise keeps its points"
    return outcomes["00.first_check"]


def test_a_right_answer_has_its_points(handed_out):
    asked, solved = handed_out
    assert statuses(asked, with_answer(solved, RIGHT)).status == "passed"


CHECKS = "__import__('labkit').__path__[0] + '/course/checks/lab00.py'"
HOSTILE = {
    "grading switched off": ("return 0.0", "import os\nos.environ.pop('NBGRADER_EXECUTION', None)"),
    "check redefined": ("return 0.0", "def check(*args): return None"),
    "the comparison taken out": (
        "import labkit.course.exercises.exercise as e; e.expect_close = lambda *a, **k: None; return 0.0",
        "",
    ),
    "an object that equals everything": (
        "return type('Same', (float,), {'__eq__': lambda s, o: True, '__sub__': lambda s, o: 0.0})(0.0)",
        "",
    ),
    "labkit's own answer": (
        "from labkit.course import find; return find('00.first_check').answer(predicted, labels)",
        "",
    ),
    "labkit's own answer from where it lies": (
        "from labkit.course.checks.lab00 import accuracy as a; return a(predicted, labels)",
        "",
    ),
    "the file with the answers": (
        f"exec(open({CHECKS}).read()); return locals()['accuracy'](predicted, labels)",
        "",
    ),
    "another process": (
        "import subprocess; return float(subprocess.run(['true']).returncode == 0)",
        "",
    ),
    "the end of whoever grades": ("import os; os.kill(os.getppid(), 9); return 0.0", ""),
}


@pytest.mark.parametrize("trick", HOSTILE)
def test_one_line_of_malice_earns_nothing_and_costs_no_other_exercise(handed_out, trick):
    asked, solved = handed_out
    outcome = statuses(asked, with_answer(solved, *HOSTILE[trick]))
    assert outcome.status == "wrong", outcome


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("while True: pass", "endless loop"),
        ("return float(torch.ones(2**31).mean())", ""),
        ("exit()", "end Python"),
        ("import os; os._exit(0)", "end Python"),
    ],
    ids=["an endless loop", "eight gigabytes", "exit", "a process that is gone"],
)
def test_what_ends_or_fills_a_process_costs_its_own_exercise_alone(handed_out, body, says):
    asked, solved = handed_out
    outcome = statuses(asked, with_answer(solved, body), seconds=5, megabytes=1024)
    assert outcome.status == "wrong"
    assert says in outcome.problem.because


def test_a_deleted_check_cell_and_a_split_cell_cost_nothing(handed_out):
    asked, solved = handed_out
    book = with_answer(solved, RIGHT)
    book.cells = [cell for cell in book.cells if "check(" not in cell.source]
    place = next(i for i, cell in enumerate(book.cells) if "def accuracy" in cell.source)
    first, second = book.cells[place].source.split(f"    {RIGHT}")[0], f"    {RIGHT}"
    book.cells[place : place + 1] = [nbformat.v4.new_code_cell(first), nbformat.v4.new_code_cell(second)]
    assert statuses(asked, book).status == "passed"


@pytest.mark.parametrize("change", [("def accuracy", "def my_accuracy"), ("def accuracy(", "def accuracy((")])
def test_a_renamed_function_and_a_syntax_error_are_not_found(handed_out, change):
    asked, solved = handed_out
    book = with_answer(solved, RIGHT)
    for cell in book.cells:
        cell.source = cell.source.replace(*change) if cell.cell_type == "code" else cell.source
    outcome = statuses(asked, book)
    assert outcome.status == "not attempted"
    assert "no function accuracy" in outcome.remark


def test_a_right_function_that_calls_a_wrong_one_keeps_its_points(tmp_path):
    """Reported for other graders: one failure cascades (nbgrader issue 1941), or what passed at home fails when graded."""
    item = lab("06")
    solved = source.solution(item, build.places(item, build.checkout()).source.read_text(encoding="utf-8"))
    nbformat.write(source.handout(solved), tmp_path / "handout.ipynb")
    asked = submission.questions(item, tmp_path / "handout.ipynb")
    pair = {id: asked[id] for id in ("06.p_value", "06.one_run_epsilon")}
    for cell in solved.cells:
        if "def one_run_epsilon" in cell.source:
            cell.source = cell.source.replace("solved.p_value", "p_value")
        elif "def p_value" in cell.source:
            cell.source = source.without_solution(cell.source)[0].replace(source.STUB, "return 0.5")
    outcomes = submission.grade(item, pair, solved, seconds=60, megabytes=2048, hidden=[])
    assert [outcome.status for outcome in outcomes.values()] == ["wrong", "passed"]


def test_a_course_folder_becomes_a_table_and_a_page_for_each_learner(tmp_path, capsys):
    solved = source.solution(LAB, build.places(LAB, build.checkout()).source.read_text(encoding="utf-8"))
    for student in ("ada", "=bob"):
        path = tmp_path / "submitted" / student / LAB.name / f"{LAB.name}.ipynb"
        path.parent.mkdir(parents=True)
        nbformat.write(with_answer(solved, RIGHT), path) if student == "ada" else path.write_text("{")
    assert cli.main(["classroom", "grade", str(tmp_path)]) == 0
    with (tmp_path / "labkit-grades.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["student"] for row in rows] == ["'=bob"] * 4 + ["ada"] * 4, (
        "no cell of a spreadsheet is a formula"
    )
    assert {row["points"] for row in rows if row["student"] != "ada"} == {"0"}
    assert all(row["points"] == row["possible"] for row in rows if row["student"] == "ada")
    page = (tmp_path / "labkit-feedback" / "ada" / f"{LAB.name}.html").read_text(encoding="utf-8")
    assert "6 of 6 points" in page
    assert "bob" not in page
    assert "cannot be read" in (tmp_path / "labkit-feedback" / "=bob" / f"{LAB.name}.html").read_text(
        encoding="utf-8"
    )


ABUSE = {  # what a hostile first answer does; {victim} is another student's notebook
    "loops": "while True: pass",
    "leaves": "import os; os._exit(0)",
    "forks": "import os; [os.fork() for _ in range(20)]; return 0.0",
    "swells": "x = bytearray(2**36); return 0.0",
    "scribbles": "open({victim!r}, 'w').write('mine'); return 0.0",
    "boasts": "print('00.first_check passed: 6 of 6 points'); return 'passed'",
    "asks": "return float(input('the answer, please: '))",
    "tampers": "return 0.0",
}


def test_twenty_submissions_are_graded_in_one_run_and_hostile_ones_spoil_only_themselves(tmp_path):
    """One learner's code never costs another a point, a file or the run."""
    solved = source.solution(LAB, build.places(LAB, build.checkout()).source.read_text(encoding="utf-8"))
    students = [*ABUSE, *(f"honest{number:02}" for number in range(20 - len(ABUSE)))]
    paths = {name: tmp_path / "submitted" / name / LAB.name / f"{LAB.name}.ipynb" for name in students}
    victim = str(paths["honest00"])
    for name, path in paths.items():
        path.parent.mkdir(parents=True)
        book = with_answer(solved, ABUSE.get(name, RIGHT).format(victim=victim))
        for cell in book.cells:
            if name == "tampers" and 'check("00.first_check"' in cell.source:
                cell.source = (
                    "def check(*_): print('passed')\ncheck('00.first_check', accuracy)\nwhile True: pass"
                )
        nbformat.write(book, path)
    before = {name: path.read_bytes() for name, path in paths.items()}

    table, feedback = grading.grade(tmp_path, seconds=8, megabytes=1024)

    with table.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 20 * 4
    lost = {(row["student"], row["exercise"]) for row in rows if row["points"] != row["possible"]}
    assert lost == {(name, "00.first_check") for name in ABUSE}
    assert {name: path.read_bytes() for name, path in paths.items()} == before, "no submission has changed"
    assert len(list(feedback.glob("*/*.html"))) == 20
    made = {path.name for path in tmp_path.iterdir()}
    assert made == {"submitted", "labkit-grades.csv", "labkit-feedback"}


def test_a_folder_without_submissions_says_what_is_expected(tmp_path, capsys):
    assert cli.main(["classroom", "grade", str(tmp_path)]) == 2
    assert "submitted" in capsys.readouterr().err
