"""The project file: which fields there are, of which type. All of it is checked before anything is loaded or run."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from labkit.governance.findings import ReviewError

NUMBER, WHOLE, TEXT, FLAG, LIST, MAP = (int, float), (int,), (str,), (bool,), (list,), (dict,)
PRIVACY = {
    "epsilon": NUMBER,
    "delta": NUMBER,
    "accountant": TEXT,
    "sampler": TEXT,
    "batches": TEXT,
    "noise_multiplier": NUMBER,
    "sample_rate": NUMBER,
    "steps": WHOLE,
    "neighbouring": TEXT,
    "unit": TEXT,
    "records": WHOLE,
    "tuning_runs": WHOLE,
}
RECIPE = {
    "epochs": WHOLE,
    "learning_rate": NUMBER,
    "batch_size": WHOLE,
    "momentum": NUMBER,
    "weight_decay": NUMBER,
    "label_smoothing": NUMBER,
    "mirror": FLAG,
    "shift": WHOLE,
}
# A mapping is a section; a list with one mapping in it is a list of such sections; a tuple is types.
FIELDS: dict[str, Any] = {
    "title": TEXT,
    "owner": TEXT,
    "model": {
        "import": TEXT,
        "weights": TEXT,
        "architecture": TEXT,
        "options": MAP,
        "file": TEXT,
        "output": (int, str),
        "answers": TEXT,
        "sha256": TEXT,
    },
    "data": {
        "dataset": TEXT,
        "train_records": WHOLE,
        "npz": TEXT,
        "import": TEXT,
        "classes": LIST,
        "source": TEXT,
        "sha256": TEXT,
    },
    "privacy": {**PRIVACY, "statement": TEXT},
    "promises": {"tpr_at_1_percent_fpr": NUMBER, "auc": NUMBER, "accuracy": NUMBER},
    "defences": LIST,
    "training": {"conformance": TEXT, "train": TEXT, "minutes": NUMBER, "loader": TEXT},
    "shadows": {
        "arrays": TEXT,
        "import": TEXT,
        "train": TEXT,
        "architecture": TEXT,
        "options": MAP,
        "recipe": RECIPE,
        "models": WHOLE,
        "knows_defence": FLAG,
    },
    "mark": {"triggers": TEXT, "import": TEXT, "kind": TEXT, "nulls": TEXT, "alpha": NUMBER},
    "evidence": [
        {
            "attack": TEXT,
            "metric": TEXT,
            "value": NUMBER,
            "interval": LIST,
            "false_positive_rate": NUMBER,
            "shadow_models": WHOLE,
            "knows_defence": FLAG,
        }
    ],
    "custody": {"record": TEXT, "roster": MAP},
    "answers": MAP,
    "run": LIST,
    "budget_minutes": NUMBER,
    "days": WHOLE,
    "seed": WHOLE,
}
NEEDED = ("title", "owner", "model", "data")
# Which fields bring the thing itself: exactly one of them.
ONE_OF = {
    "model": ("import", "weights", "file"),
    "data": ("dataset", "npz", "import"),
    "shadows": ("arrays", "import", "recipe", "train"),
    "mark": ("triggers", "import"),
}


def check(given: Any) -> dict[str, Any]:
    """Return a project file's content if it can be read, else say everything that is wrong with it.

    Raises
    ------
    ReviewError
        With one line for each fault.

    Examples
    --------
    >>> check({"title": "t", "owner": "o", "model": {"wieghts": "m.pt"}, "data": {"npz": "d.npz"}})
    Traceback (most recent call last):
    ...
    labkit.governance.findings.ReviewError: 2 faults in the project file:
    - model: unknown field 'wieghts'; did you mean 'weights'?
    - model: expected exactly one of import, weights, file
    """
    if not isinstance(given, Mapping):
        raise ReviewError(
            f"the project file holds a {type(given).__name__}; expected fields such as title, owner, model"
        )
    faults = check_section("", given, FIELDS)
    faults += [f"{name} is missing" for name in NEEDED if name not in given]
    for name, choices in ONE_OF.items():
        section = given.get(name)
        if isinstance(section, Mapping) and sum(one in section for one in choices) != 1:
            faults.append(f"{name}: expected exactly one of {', '.join(choices)}")
    faults += _further(given)
    if faults:
        count = f"{len(faults)} fault{'s' * (len(faults) > 1)} in the project file"
        raise ReviewError("\n- ".join([f"{count}:", *faults]))
    return dict(given)


def _further(given: Mapping[str, Any]) -> list[str]:
    """Return what single fields cannot show: things that need each other."""
    faults = []
    model, privacy, shadows = (_mapping(given.get(name)) for name in ("model", "privacy", "shadows"))
    if "weights" in model and "architecture" not in model:
        faults.append(
            "model: weights need an architecture, such as labkit.models:perceptron or my_module:make_model"
        )
    if privacy and ("statement" in privacy) == ("epsilon" in privacy):
        faults.append(
            "privacy: expected either statement (a JSON file, as governance.Claim.save writes it) or epsilon with its facts"
        )
    if "recipe" in shadows and "architecture" not in {*shadows, *model}:
        faults.append("shadows: a recipe needs an architecture, here or under model")
    return faults


def check_section(where: str, given: Any, fields: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with one section, one line for each fault."""
    label = where or "top level"
    if not isinstance(given, Mapping):
        return [f"{label}: {given!r}; expected fields: {', '.join(fields)}"]
    faults = []
    for name, value in given.items():
        path = f"{where}.{name}" if where else str(name)
        if name not in fields:
            near = difflib.get_close_matches(str(name), fields, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"expected some of {', '.join(fields)}"
            faults.append(f"{label}: unknown field {name!r}; {hint}")
        elif isinstance(fields[name], Mapping):
            faults += check_section(path, value, fields[name])
        elif isinstance(fields[name], list):
            rows = value if isinstance(value, list) else [value]
            faults += [
                fault
                for k, row in enumerate(rows)
                for fault in check_section(f"{path}[{k}]", row, fields[name][0])
            ]
        elif not isinstance(value, fields[name]) or (isinstance(value, bool) and bool not in fields[name]):
            kinds = " or ".join(kind.__name__ for kind in fields[name])
            faults.append(f"{path}: {value!r}; expected {kinds}")
    return faults


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def read(path: str | Path) -> dict[str, Any]:
    """Read and check a project file.

    Raises
    ------
    ReviewError
        If it is not there, is no YAML, names a field twice, or `check` finds faults.
    """
    import yaml

    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ReviewError(f"{path} is not there: expected a project file (YAML)") from error
    except (UnicodeDecodeError, IsADirectoryError) as error:
        raise ReviewError(f"{path} is no text: expected a project file (YAML)") from error
    try:
        return check(yaml.load(text, Loader=_strict_loader()))
    except yaml.YAMLError as error:
        raise ReviewError(f"{path} is no YAML: {error}") from error


def _strict_loader() -> type:
    """Return YAML's safe loader, which builds plain values only, made to refuse a field that stands twice."""
    import yaml

    class Strict(yaml.SafeLoader):
        pass

    def once(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
        names = [loader.construct_object(key, deep=True) for key, _ in node.value]
        if twice := {str(name) for name in names if names.count(name) > 1}:
            raise yaml.YAMLError(f"{', '.join(sorted(twice))} stands twice{node.start_mark}")
        return yaml.SafeLoader.construct_mapping(loader, node, deep=True)

    # YAML reads 1e-5 as text: a number needs a dot there, and nobody writes one.
    Strict.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, once)
    Strict.add_implicit_resolver("tag:yaml.org,2002:float", _exponent(), list("-+0123456789"))
    return Strict


def _exponent() -> Any:
    import re

    return re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$")
