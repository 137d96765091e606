"""``labkit classroom release``: one folder to hand out, without answers in its notebooks, its hints or its wheel."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from labkit.course.exercises.exercise import of_lab
from labkit.course.labs import LABS
from labkit.course.notebooks import build, source, written
from labkit.course.release import answer_free, wheels

LOCK = "requirements.lock"
MADE_OF = "(what the wheel was made of)"  # in the record; no file is called so
README = """# labkit, for a class

Python 3.11 or newer, and once:

```
python3 -m venv .venv
.venv/bin/python -m pip install "{wheel}[course]" --constraint {lock}
.venv/bin/jupyter lab notebooks/{first}.ipynb
```

On Windows write `.venv\\Scripts` in place of `.venv/bin`.

- Fill in the cells that say `{stub}`; leave the check cells as they are.
- A check says at once what it makes of your function: try as often as you like. Later cells run whether or not it has passed.
- Each exercise has two hints, folded. For more, ask.
- Before you hand in: restart the kernel and run all cells. Then hand in the notebook itself, under its own name.
- Your progress and your predictions lie in `notebooks/.labkit/` on this machine. Nothing is sent anywhere.
"""


@dataclass(frozen=True)
class Handout:
    """An answer-free set, before it is written.

    Attributes
    ----------
    notebooks : dict
        Lab's name -> released notebook, as text.
    package : dict
        What the wheel is built from: relative path -> content, sealed where it holds answers.
    answers : dict
        Exercise -> the text that must appear nowhere in them, without white space.
    """

    notebooks: dict[str, str]
    package: dict[str, bytes]
    answers: dict[str, str]


def prepare(root: Path) -> Handout:
    """Return what is handed out, made from the sources in a checkout; nothing is written."""
    notebooks, answers = {}, {}
    for item in LABS:
        text = build.places(item, root).source.read_text(encoding="utf-8")
        solved = source.standing_alone(source.solution(item, text))
        notebooks[item.name] = build.text(answer_free.released(solved))
        answers |= answer_free.answers(solved)
    package = wheels.without_answers(wheels.sources(root, notebooks), answers)
    return Handout(notebooks, package, answers)


def hand_out(folder: Path, *, force: bool = False) -> list[Path]:
    """Write the answer-free set into a folder and return the paths of what changed; a second time little is done.

    Parameters
    ----------
    force : bool
        Put files that were edited since aside, each as ``NAME.yours``, instead of refusing.

    Raises
    ------
    labkit.course.notebooks.build.BuildError
        For an installed wheel: the sources of the labs are not in it.
    labkit.course.notebooks.written.EditedError
        If a file was edited since; nothing is written then.
    labkit.course.release.wheels.WheelError
        If the wheel cannot be built; nothing is written then.
    """
    root = build.checkout()
    ready = prepare(root)
    made_of = wheels.digest(ready.package)
    wheel, content = _wheel(folder, made_of, ready.package)
    readme = README.format(
        wheel=f"./{wheel}", lock=LOCK, first=LABS[0].name, stub=source.STUB.partition("(")[0]
    )
    wanted: dict[str, str | bytes] = {
        "README.md": readme,
        LOCK: (root / ".ci" / LOCK).read_bytes(),
        wheel: content,
        **{f"notebooks/{name}.ipynb": text for name, text in ready.notebooks.items()},
    }
    return written.write(folder, wanted, force=force, notes={MADE_OF: made_of})


def _wheel(folder: Path, made_of: str, package: dict[str, bytes]) -> tuple[str, bytes]:
    """Return name and content of the wheel: the one that is there, if it was made of the same files and is whole."""
    known = written.read_record(folder)
    for path in folder.glob("labkit-*.whl"):
        content = path.read_bytes()
        if known.get(MADE_OF) == made_of and known.get(path.name) == written.fingerprint(content):
            return path.name, content
    print("building the wheel, which takes some seconds", file=sys.stderr)
    return wheels.build(package)


def readable() -> list[str]:
    """Return the exercises whose answers stay readable: they are functions of labkit, which later labs call.

    Examples
    --------
    >>> "02.clip_per_sample" in readable(), "00.interval" in readable()
    (True, False)
    """
    items = [item for lab in LABS for item in of_lab(lab.number)]
    return [item.id for item in items if not item.answer.__module__.startswith("labkit.course.")]
