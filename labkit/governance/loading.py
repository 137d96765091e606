"""From a project file to the things that it names. Nothing that a submission brings is executed unless the reviewer says so.

Weights are read as weights (`torch.load` with ``weights_only``), arrays as arrays, YAML and JSON as plain values. Import
paths and pickles are programs: reading them runs whatever their author wrote. They need ``trust_code=True``, which only
the reviewer can give: no field of the file does.
"""

from __future__ import annotations

import hashlib
import importlib
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit.governance import records, schema
from labkit.governance.answering import as_answering
from labkit.governance.claims import Claim, Mark, Shadows, Submitted
from labkit.governance.findings import ReviewError
from labkit.governance.project import Project

if TYPE_CHECKING:
    from torch import nn

OURS = "labkit.models:"  # makes networks and nothing else


class UntrustedError(ReviewError):
    """A project file names code, and the reviewer has not said that it may run."""


def read_project(path: str | Path, *, trust_code: bool = False) -> Project:
    """Read a project file, load what it names, and return the project.

    Parameters
    ----------
    path : str or Path
        YAML: see `labkit.governance.schema`. Files and modules in it are looked for beside it.
    trust_code : bool
        Whether code that the file names (import paths, pickles) may be run.

    Raises
    ------
    UntrustedError
        If it names code, and ``trust_code`` is false: the message lists it.
    ReviewError
        If a field is unknown or missing, a file is not there or of another kind, or the model cannot be asked.
    """
    path = Path(path)
    given = schema.read(path)
    code = code_in(given)
    if code and not trust_code:
        raise UntrustedError(
            f"{path.name} names code, which could do anything when it is loaded: {'; '.join(code)}. If you know who wrote "
            "it, pass --trust-code (read_project(..., trust_code=True)); else ask for weights (.pt), arrays (.npz) and an "
            "architecture of labkit.models, which are read without running anything"
        )
    here = path.resolve().parent
    missing = [name for name in files_in(given) if not (here / name).is_file()]
    if missing:
        raise ReviewError(f"{', '.join(missing)}: not there, beside {path.name}")
    with _importable(here) if code else nullcontext():
        return _project(given, here)


def code_in(given: Mapping[str, Any]) -> list[str]:
    """Return what a project file names that is code, as "field: what it names"."""
    found = []
    for section, field in (
        ("model", "import"),
        ("model", "architecture"),
        ("data", "import"),
        ("training", "conformance"),
        ("training", "train"),
        ("training", "loader"),
        ("shadows", "import"),
        ("shadows", "train"),
        ("shadows", "architecture"),
        ("mark", "import"),
        ("mark", "nulls"),
    ):
        named = given.get(section, {}).get(field)
        if named and not named.startswith(OURS):
            found.append(f"{section}.{field}: {named}")
    if named := given["model"].get("file"):
        found.append(f"model.file: {named} (a pickle)")
    return found


def files_in(given: Mapping[str, Any]) -> list[str]:
    """Return the names of the files that a project file reads."""
    places = (
        ("model", "weights"),
        ("model", "file"),
        ("data", "npz"),
        ("privacy", "statement"),
        ("shadows", "arrays"),
        ("mark", "triggers"),
        ("custody", "record"),
    )
    named = (given.get(section, {}).get(field) for section, field in places)
    return [name for name in named if name]


def _project(given: Mapping[str, Any], here: Path) -> Project:
    dataset, members = _data(given["data"], here)
    model = _model(given["model"], here, dataset)
    training = given.get("training", {})
    loader = _made(training["loader"]) if "loader" in training else None
    files = {name: hashlib.sha256((here / name).read_bytes()).hexdigest() for name in files_in(given)}
    stated = {"model": given["model"].get("sha256"), "data": given["data"].get("sha256")}
    return Project(
        title=given["title"],
        owner=given["owner"],
        model=model,
        dataset=dataset,
        members=members,
        claim=_claim(given.get("privacy"), here),
        promises=given.get("promises", {}),
        defences=tuple(map(str, given.get("defences", ()))),
        train_step=_named(training["conformance"]) if "conformance" in training else None,
        loader=loader,
        trainer=_named(training["train"]) if "train" in training else None,
        trainer_minutes=training.get("minutes", 1.0),
        shadows=_shadows(given.get("shadows"), given["model"], here, dataset),
        mark=_mark(given.get("mark"), here),
        evidence=tuple(_submitted(row) for row in _rows(given.get("evidence"))),
        record=_record(given.get("custody"), here),
        answers=given.get("answers", {}),
        checks=given.get("run"),
        budget_minutes=given.get("budget_minutes", 30.0),
        days=given.get("days"),
        expected={what: value for what, value in stated.items() if value},
        files=files,
        seed=given.get("seed", 0),
    )


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Let modules beside the project file be imported, after all others: none takes the name of an installed one.

    Only where code is trusted: a file beside the project file could bear the name of any module that is still to load.
    """
    sys.path.append(str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def _named(path: str) -> Any:
    """Return what an import path ("module:name") names."""
    module, _, name = path.partition(":")
    if not module or not name:
        raise ReviewError(
            f"{path!r} is no import path; expected module:name, such as my_project.models:make_model"
        )
    try:
        found = importlib.import_module(module)
    except ImportError as error:
        raise ReviewError(
            f"{path!r}: {error}: expected a module beside the project file, or an installed one"
        ) from error
    except Exception as error:  # whatever a foreign module raises while it is read
        raise _failed(path, error) from error
    if not hasattr(found, name):
        raise ReviewError(f"{path!r}: {module} has no {name}")
    return getattr(found, name)


def _made(path: str, options: Mapping[str, Any] | None = None) -> Any:
    """Return what the function that an import path names gives."""
    function = _named(path)
    if not callable(function):
        raise ReviewError(f"{path!r} is a {type(function).__name__}; expected a function, which is called")
    try:
        return function(**(options or {}))
    except ReviewError:
        raise
    except Exception as error:  # whatever foreign code raises, the reviewer needs to know where
        raise _failed(path, error) from error


def _failed(path: str, error: Exception) -> ReviewError:
    place = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(place.filename).name}, line {place.lineno}"
    return ReviewError(f"{path!r} failed with {type(error).__name__}: {error} ({where})")


def _data(given: Mapping[str, Any], here: Path) -> tuple[Any, Any]:
    if "dataset" in given:
        from labkit import data

        loaded = data.load(given["dataset"])
        count = given.get("train_records")
        return (loaded.take(count) if count else loaded), None
    if "import" in given:
        return records.as_pair(_made(given["import"]))
    return records.from_npz(here / given["npz"], classes=given.get("classes"), source=given.get("source"))


def _model(given: Mapping[str, Any], here: Path, dataset: Any) -> nn.Module:
    if "import" in given:
        made = _made(given["import"], given.get("options"))
    elif "file" in given:
        made = _unpickled(here / given["file"])
    else:
        made = _made(given["architecture"], given.get("options"))
        _fill(made, here / given["weights"])
    classes = len(dataset.classes)
    return as_answering(
        made, dataset.train_x, classes, part=given.get("output"), answers=given.get("answers", "logits")
    )


def _fill(model: nn.Module, path: Path) -> None:
    """Load weights into a model: a state dict, or the file that `labkit.dp.PrivateResult.save` writes."""
    import torch

    try:
        found = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # torch raises its own kinds, for a pickle of anything but weights
        raise ReviewError(
            f"{path.name} holds something else than weights, and is not read any further ({type(error).__name__}): save "
            "model.state_dict(); or name it as model.file, which needs --trust-code"
        ) from error
    state = found.get("weights", found) if isinstance(found, dict) else found
    try:
        model.load_state_dict(_as_in(model, state))
    except (RuntimeError, AttributeError, TypeError) as error:
        raise ReviewError(f"{path.name} does not fit the architecture: {error}") from error


def _as_in(model: nn.Module, state: Any) -> Any:
    """Return weights under the model's own names: training with ``output=`` put "model." before each."""
    wrapped = (
        isinstance(state, dict) and bool(state) and all(str(name).startswith("model.") for name in state)
    )
    if not wrapped or set(state) == set(model.state_dict()):
        return state
    return {name.removeprefix("model."): value for name, value in state.items()}


def _unpickled(path: Path) -> Any:
    """Load a pickle: only after `code_in` was trusted."""
    import joblib
    import torch

    try:
        if path.suffix in (".joblib", ".pkl", ".pickle"):
            return joblib.load(path)
        return torch.load(path, weights_only=False, map_location="cpu")
    except Exception as error:  # a class that is not found, a damaged file, another library's version
        raise ReviewError(
            f"{path.name} cannot be unpickled ({type(error).__name__}: {error}): put the module that defines its classes beside "
            "the project file, or name an architecture and save model.state_dict() as model.weights"
        ) from error


def _claim(given: Mapping[str, Any] | None, here: Path) -> Claim | None:
    if given is None:
        return None
    if "statement" not in given:
        return Claim(**given)
    from labkit import strict_json

    file = here / given["statement"]
    try:
        found = strict_json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ReviewError(f"{file.name} is no statement in JSON: {error}") from error
    if faults := schema.check_section("privacy", found, schema.PRIVACY):
        raise ReviewError(f"{file.name}: {'; '.join(faults)}")
    if "epsilon" not in found:
        raise ReviewError(f"{file.name}: epsilon is missing")
    extra = {name: value for name, value in given.items() if name != "statement"}
    if both := sorted(set(extra) & set(found)):
        raise ReviewError(
            f"privacy: {', '.join(both)} stand in the project file and in {file.name}: which one counts?"
        )
    return Claim(**found, **extra)


def _rows(given: Any) -> list[Mapping[str, Any]]:
    return [] if given is None else given if isinstance(given, list) else [given]


def _submitted(given: Mapping[str, Any]) -> Submitted:
    try:
        ends = given.get("interval")
        return Submitted(**{**given, "interval": None if ends is None else (float(ends[0]), float(ends[1]))})
    except (TypeError, IndexError) as error:
        raise ReviewError(
            f"evidence: {dict(given)} ({error}); expected attack, metric, value, and interval: [low, high]"
        ) from error


def _shadows(
    given: Mapping[str, Any] | None, model: Mapping[str, Any], here: Path, dataset: Any
) -> Shadows | None:
    if given is None:
        return None
    if "import" in given:
        made = _made(given["import"])
        if not isinstance(made, Shadows):
            raise ReviewError(
                f"{given['import']} gives a {type(made).__name__}; expected labkit.governance.Shadows"
            )
        return made
    knows = given.get("knows_defence", False)
    if "arrays" in given:
        return records.shadows_from_npz(here / given["arrays"], dataset, knows_defence=knows)
    models = given.get("models", 16)
    if "train" in given:
        return Shadows(train=_named(given["train"]), models=models, knows_defence=knows)
    from labkit.training import Recipe

    chosen = given if "architecture" in given else model
    return Shadows(
        make_model=partial(
            _fresh, _named(chosen["architecture"]), dict(chosen.get("options", {})), model.get("output")
        ),
        recipe=Recipe(**given["recipe"]),
        models=models,
        knows_defence=knows,
    )


def _fresh(make: Callable[..., nn.Module], options: Mapping[str, Any], part: int | str | None) -> nn.Module:
    """Return an untrained model that gives logits."""
    from labkit.governance.answering import Answering

    made = make(**options)
    return made if part is None else Answering(made, part, "logits")


def _mark(given: Mapping[str, Any] | None, here: Path) -> Mark | None:
    if given is None:
        return None
    if "import" in given:
        made = _made(given["import"])
        if not isinstance(made, Mark):
            raise ReviewError(
                f"{given['import']} gives a {type(made).__name__}; expected labkit.governance.Mark"
            )
        return made
    x, y = records.triggers_from_npz(here / given["triggers"])
    nulls = tuple(_made(given["nulls"])) if "nulls" in given else ()
    return Mark(x=x, y=y, kind=given.get("kind", "own"), nulls=nulls, alpha=given.get("alpha", 1e-3))


def _record(given: Mapping[str, Any] | None, here: Path) -> Mapping[str, Any] | None:
    if given is None:
        return None
    if "record" not in given:
        raise ReviewError(
            "custody: expected record (a file of labkit.evidence) and roster (public key by name)"
        )
    from labkit.evidence import Evidence, TamperError

    try:
        found: Any = Evidence.load(here / given["record"])
    except (TamperError, ValueError) as error:  # its check says so: a record that cannot be read is a finding
        found = str(error)
    return {"evidence": found, "roster": {str(k): str(v) for k, v in given.get("roster", {}).items()}}
