"""Every tool that the course names: how it is held against labkit, or why it is not."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit.bridges.environment import BridgeError

if TYPE_CHECKING:
    from labkit.bridges.agreement import Agreement


@dataclass(frozen=True)
class Tool:
    """One tool.

    Attributes
    ----------
    title : str
        As people write it.
    home : str
        Module of `labkit.bridges` and function there that compares, ``"noise.opendp"``.
    module : str
        What `import` must find for the tool to be here; empty where it gets an environment of its own.
    extra : str
        Extra of labkit that installs it; empty where labkit itself does.
    what : str
        What is run, for the table.
    """

    title: str
    home: str
    module: str
    extra: str
    what: str

    @property
    def isolated(self) -> bool:
        """Whether it runs in an environment of its own."""
        return not self.module

    @property
    def here(self) -> bool:
        """Whether it is installed beside labkit."""
        return bool(self.module) and importlib.util.find_spec(self.module) is not None


TOOLS: dict[str, Tool] = {
    "opacus": Tool(
        "Opacus", "accounting.opacus", "opacus", "", "Rényi curve and PRV against our accountants"
    ),
    "dp-accounting": Tool(
        "dp-accounting (Google)",
        "accounting.dp_accounting",
        "dp_accounting",
        "",
        "PLD and RDP of four DP-SGD settings and of thirty Laplace counts",
    ),
    "pydp": Tool(
        "PyDP (Google)", "noise.pydp", "pydp", "bridges", "count and bounded mean: the law of the noise"
    ),
    "opendp": Tool(
        "OpenDP",
        "noise.opendp",
        "opendp",
        "bridges",
        "discrete Laplace and Gaussian counts: the law, and what is certified",
    ),
    "scikit-learn": Tool(
        "scikit-learn",
        "learning.scikit_learn",
        "sklearn",
        "",
        "AUC of ties and scores; softmax regression at its optimum",
    ),
    "optuna": Tool(
        "Optuna", "learning.optuna", "optuna", "", "a search over ε and settings: its front against ours"
    ),
    "art": Tool(
        "ART",
        "art_models.art",
        "art",
        "bridges",
        "our network as its classifier; fast gradient, label-only attack; see also attacks",
    ),
    "cleverhans": Tool(
        "CleverHans",
        "evasion.cleverhans",
        "cleverhans",
        "bridges",
        "fast gradient, projected gradient and SPSA on our network; it has no membership attack",
    ),
    "presidio": Tool(
        "Presidio", "text.presidio", "presidio_analyzer", "bridges", "our record-number recogniser, offline"
    ),
    "attacks": Tool(
        "ART and PrivacyGuard: attacks",
        "peers.attacks",
        "",
        "",
        "our threshold, LiRA and RMIA attacks and theirs on the same arrays",
    ),
    "tfprivacy": Tool(
        "TensorFlow Privacy",
        "tf_privacy.tfprivacy",
        "",
        "",
        "ε of the MNIST setting, steps without noise, and private training",
    ),
    "pysyft": Tool(
        "PySyft", "syft_site.pysyft", "", "", "a data site approves a request and answers with a private mean"
    ),
    "gpyopt": Tool(
        "GPyOpt",
        "gpyopt_study.gpyopt",
        "",
        "",
        "it and Optuna tune (ε, C, learning rate) to one utility constraint",
    ),
}


def compare(name: str, *, keep: bool = False, python: str | Path | None = None) -> Agreement:
    """Run one tool beside labkit, at the size of the profile.

    Parameters
    ----------
    name : str
        A key of `TOOLS`.
    keep, python : bool, path
        For a tool with an environment of its own: leave it there; the interpreter to make it with.

    Raises
    ------
    BridgeError
        If the name is unknown, the tool is not installed, or its environment cannot be made or used.
    """
    if name not in TOOLS:
        raise BridgeError(f"no bridge to {name!r}; there are {', '.join(TOOLS)}")
    tool = TOOLS[name]
    if not (tool.isolated or tool.here):
        package = f"labkit[{tool.extra}]" if tool.extra else "labkit"
        raise BridgeError(f"{tool.title} is not installed: pip install '{package}'")
    if not tool.isolated and (keep or python):
        raise BridgeError(
            f"{tool.title} runs beside labkit: --keep and --python are for tools with an environment of their own"
        )
    module, function = tool.home.split(".")
    work = getattr(importlib.import_module(f"labkit.bridges.{module}"), function)
    options: dict[str, Any] = {"keep": keep, "python": python} if tool.isolated else {}
    return work(**options)
