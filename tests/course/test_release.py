"""``labkit classroom release`` and ``variant``: no answer leaves the house, and no edit of the instructor's is lost."""

import json
import math
import subprocess
import sys
import zipfile

import nbformat
import pytest

from labkit import cli
from labkit.course.exercises.exercise import of_lab
from labkit.course.labs import LABS
from labkit.course.notebooks import build, written
from labkit.course.release import answer_free, handing_out, variants, wheels

# labkit's own functions that are, word for word, what an exercise asks for: they stay readable, and the guide says so.
READABLE = {("05_dominance", "labkit/membership/attacks/rmia.py")}


@pytest.fixture(scope="module")
def ready():
    return handing_out.prepare(build.checkout())


def cells_of(text: str) -> list[str]:
    """Return each cell's text without white space."""
    return [answer_free.plain(cell.source) for cell in nbformat.reads(text, 4).cells]


def test_no_released_file_holds_an_answer(ready):
    asked = sum(len(of_lab(lab.number)) for lab in LABS)
    assert len(ready.answers) == asked > 90, "one answer for each exercise"
    assert min(map(len, ready.answers.values())) > 25, "short enough to stand somewhere by chance"
    for name, text in ready.notebooks.items():
        for cell in cells_of(text):
            assert not [key for key, answer in ready.answers.items() if answer in cell], name
    hits = {
        (key, name)
        for name, content in ready.package.items()
        if (bare := answer_free.plain(content.decode(errors="replace")))
        for key, answer in ready.answers.items()
        if answer in bare
    }
    assert hits <= READABLE


def test_the_search_for_answers_finds_them_where_they_are():
    """The check of the check: in the checkout itself, and in self-paced copies, answers are found."""
    root = build.checkout()
    solved, learner = build.make(LABS[0], root)
    answers = answer_free.answers(solved)
    folded = "".join(answer_free.plain(cell.source) for cell in learner.cells)
    assert all(answer in folded for answer in answers.values())
    source = wheels.sources(root, {})["labkit/course/checks/lab00.py"].decode()
    assert any(answer in answer_free.plain(source) for answer in answers.values())


def test_hints_one_and_two_stay_and_the_third_goes(ready):
    for lab in LABS:
        text = ready.notebooks[lab.name]
        assert text.count("<summary>Hint 2</summary>") == len(of_lab(lab.number))
        for word in ("<summary>Hint 3</summary>", "<summary>Answer</summary>", "BEGIN SOLUTION"):
            assert word not in text, lab.name


PROGRAM = """
import inspect
from labkit.course.exercises.checking import judge
from labkit.course.exercises.exercise import find, of_lab
from labkit.course.labs import LABS
print(sum(callable(item.answer) for lab in LABS for item in of_lab(lab.number)))
right = lambda predicted, labels: float((predicted == labels).float().mean())
print(judge(find("00.first_check"), right).status)
print(judge(find("00.first_check"), lambda predicted, labels: 0.0).status)
try:
    print(inspect.getsource(find("00.interval").answer))
except OSError:
    print("sealed")
"""


def use(site, folder) -> list[str]:
    """Run the program above with the labkit that lies in a folder, and return its words."""
    variables = {"PYTHONPATH": str(site), "OMP_NUM_THREADS": "1", "MPLCONFIGDIR": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=folder, env=variables, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.split()


def test_sealed_checks_check_as_before_and_show_no_source(ready, tmp_path):
    for name, content in ready.package.items():
        if name.startswith("labkit/"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(content)
    assert use(tmp_path, tmp_path) == [str(len(ready.answers)), "passed", "wrong", "sealed"]


@pytest.mark.slow
def test_the_wheel_itself_holds_no_answers(ready, tmp_path):
    """What pip makes of the files that were searched above, unpacked as pip would."""
    name, content = wheels.build(ready.package)
    (tmp_path / name).write_bytes(content)
    with zipfile.ZipFile(tmp_path / name) as archive:
        files = {each: archive.read(each).decode(errors="replace") for each in archive.namelist()}
        archive.extractall(tmp_path / "site")
    assert not [each for each in files if each.startswith(("solutions/", "tests/"))]
    for each, text in files.items():
        found = {(key, each) for key, answer in ready.answers.items() if answer in answer_free.plain(text)}
        assert found <= READABLE, each
    for lab in LABS:
        bundled = nbformat.reads(files[f"labkit/course/bundle/{lab.name}.ipynb"], 4)
        released = nbformat.reads(ready.notebooks[lab.name], 4)
        assert [cell.source for cell in bundled.cells] == [cell.source for cell in released.cells]
    assert use(tmp_path / "site", tmp_path)[1:] == ["passed", "wrong", "sealed"]


def test_a_second_release_is_quick_and_an_edit_is_never_lost(tmp_path, monkeypatch, ready, capsys):
    built = []
    monkeypatch.setattr(handing_out, "prepare", lambda root: ready)
    monkeypatch.setattr(
        wheels, "build", lambda files: built.append(1) or ("labkit-1-py3-none-any.whl", b"a wheel")
    )
    folder = tmp_path / "class"
    assert cli.main(["classroom", "release", str(folder)]) == 0
    assert "02.clip_per_sample" in capsys.readouterr().err, (
        "the instructor is told which answers stay readable"
    )
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert names >= {
        "README.md",
        "requirements.lock",
        "labkit-1-py3-none-any.whl",
        f"notebooks/{LABS[0].name}.ipynb",
    }
    assert handing_out.hand_out(folder) == [], "nothing changed, nothing is written"
    assert built == [1], "and the wheel is not built again"

    notebook, readme = folder / "notebooks" / f"{LABS[0].name}.ipynb", folder / "README.md"
    notebook.write_text(notebook.read_text(encoding="utf-8").replace("lab", "course"), encoding="utf-8")
    readme.unlink()
    mine = notebook.read_bytes()
    with pytest.raises(written.EditedError, match=LABS[0].name):
        handing_out.hand_out(folder)
    assert notebook.read_bytes() == mine
    assert not readme.exists(), "nothing is written beside a file that stands in the way"
    handing_out.hand_out(folder, force=True)
    assert notebook.with_name(f"{notebook.name}.yours").read_bytes() == mine
    assert readme.exists()
    notebook.write_text("a second edit", encoding="utf-8")
    handing_out.hand_out(folder, force=True)
    assert notebook.with_name(f"{notebook.name}.yours").read_bytes() == mine, "an earlier edit stays, too"
    assert notebook.with_name(f"{notebook.name}.yours2").read_text(encoding="utf-8") == "a second edit"


def test_a_folder_of_somebody_elses_is_refused(tmp_path, ready, monkeypatch):
    monkeypatch.setattr(handing_out, "prepare", lambda root: ready)
    monkeypatch.setattr(wheels, "build", lambda files: ("labkit-1-py3-none-any.whl", b"a wheel"))
    (tmp_path / "README.md").write_text("mine", encoding="utf-8")
    with pytest.raises(written.EditedError, match=r"README\.md"):
        handing_out.hand_out(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]


def test_an_edited_wheel_and_a_lost_record_are_noticed(tmp_path):
    written.write(tmp_path, {"a": b"one"})
    (tmp_path / written.RECORD).write_text("{", encoding="utf-8")
    assert written.write(tmp_path, {"a": b"one"}) == [], "the same content is nobody's edit"
    (tmp_path / written.RECORD).unlink()
    with pytest.raises(written.EditedError):
        written.write(tmp_path, {"a": b"two"})


@pytest.mark.parametrize("seed", [0, 7, 8, 2026])
def test_a_variant_has_numbers_of_its_own_and_slips_that_show(seed):
    asked = variants.draw(seed)
    assert asked == variants.draw(seed)
    assert sum(one.text != other.text for one, other in zip(asked, variants.draw(seed + 1), strict=True)) >= 9
    for question in asked:
        assert math.isfinite(question.answer)
        slip = question.slip.partition(":")[0]
        if not slip.startswith(("The", '"')):
            assert abs(float(slip) - question.answer) > 0.01 * abs(question.answer), question
    by_id = {question.exercise: question.answer for question in asked}
    assert set(by_id) <= {item.id for lab in LABS for item in of_lab(lab.number)}


def test_the_keys_answers_are_those_of_the_formulas():
    """Recomputed here from the numbers in the text of one variant, without labkit."""
    import re

    asked = {question.exercise: question for question in variants.draw(7)}

    def numbers(id: str) -> list[float]:
        return [
            float(found.replace(",", "")) for found in re.findall(r"-?\d[\d,]*(?:\.\d+)?", asked[id].text)
        ]

    low, high = numbers("01.sum_sensitivity")
    assert asked["01.sum_sensitivity"].answer == high - low
    epsilon, size = numbers("01.group_privacy")[0], numbers("01.group_privacy")[-1]
    assert asked["01.group_privacy"].answer == pytest.approx(size * epsilon)
    n, batch = numbers("02.sample_rate")
    assert asked["02.sample_rate"].answer == pytest.approx(1 / math.ceil(n / batch))
    tpr, fpr, prior = (value / 100 for value in numbers("04.precision"))
    assert asked["04.precision"].answer == pytest.approx(prior * tpr / (prior * tpr + (1 - prior) * fpr))
    one, two = (int(value) for value in numbers("03.paired"))
    tail = sum(math.comb(one + two, k) for k in range(min(one, two) + 1)) / 2 ** (one + two)
    assert asked["03.paired"].answer == pytest.approx(min(1.0, 2 * tail))
    prior, epsilon = numbers("14.posterior_bound")[0] / 100, numbers("14.posterior_bound")[1]
    odds = math.exp(epsilon) * prior / (1 - prior)
    assert asked["14.posterior_bound"].answer == pytest.approx(odds / (1 + odds))


def test_paper_and_key_are_written_apart(tmp_path):
    assert cli.main(["classroom", "variant", str(tmp_path), "--seed", "7"]) == 0
    names = f"exam-{variants.label(7)}.md", f"exam-{variants.label(7)}-key.md"
    paper, key = (tmp_path / name for name in names)
    for question in variants.draw(7):
        assert question.text in paper.read_text(encoding="utf-8")
        assert question.reason not in paper.read_text(encoding="utf-8")
        assert question.reason in key.read_text(encoding="utf-8")
    assert json.loads((tmp_path / written.RECORD).read_text(encoding="utf-8")).keys() == set(names)


def test_a_paper_gives_no_seed_away_and_without_one_each_is_new(tmp_path, capsys):
    """The released wheel makes the key for whoever has the seed."""
    for _ in range(2):
        assert cli.main(["classroom", "variant", str(tmp_path)]) == 0
    keys = sorted(tmp_path.glob("exam-*-key.md"))
    assert len(keys) == 2
    for key in keys:
        seed = key.read_text(encoding="utf-8").partition("--seed ")[2].partition("`")[0]
        paper = key.with_name(f"exam-{variants.label(int(seed))}.md")
        assert seed not in paper.read_text(encoding="utf-8") + paper.name
    assert cli.main(["classroom", "variant", str(tmp_path), "--seed", "-1"]) == 2
    assert "whole number from 0 on" in capsys.readouterr().err
