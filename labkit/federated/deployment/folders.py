"""One folder per party: what a hospital holds, and what the server holds.

=================  =========================================================  ==================
file               what it is                                                 who may read it
=================  =========================================================  ==================
``agreement.json``  the terms, and the public signing key of every hospital   everybody
``authority.crt``   the certificate by which nodes know the server            everybody
``records.npz``     this hospital's records                                   the hospital alone
``identity``        its signing key, and the rounds it took part in           the hospital alone
``node``            its key towards the server (``node.pub``: the public half)  the hospital alone
``server.key``      the server's TLS key (``server.crt``: its certificate)    the server alone
``model.npy``       the final model                                           everybody
=================  =========================================================  ==================
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from labkit.cache import atomic_path
from labkit.data import Dataset
from labkit.federated.agreement import Agreement
from labkit.federated.deployment.keys import make_node_key
from labkit.federated.member import write_secret
from labkit.federated.secagg import Identity

PARTS = ("train_x", "train_y", "test_x", "test_y")


@dataclass(frozen=True)
class Enrolment:
    """What a hospital hands to the others when it joins, in person or over a channel that they trust.

    Attributes
    ----------
    name : str
    signing_key : str
        Public, in hex: goes into the roster of the agreement.
    records : int
        How many training records it declares: public, a constant of the plan.
    """

    name: str
    signing_key: str
    records: int

    def to_json(self) -> str:
        """Return the enrolment as one line."""
        return json.dumps({"name": self.name, "signing_key": self.signing_key, "records": self.records})


def enrol(folder: Path, name: str, dataset: Dataset, declared: int | None = None) -> Enrolment:
    """Make a hospital's folder: its records, its node key and its identity; return what the others may know.

    Parameters
    ----------
    declared : int, optional
        How many records to declare; the exact number by default, which where patients are private should be a round
        one instead: whoever knows all patients but one learns from the exact number whether that one is there.

    Raises
    ------
    FileExistsError
        If the folder holds an identity already: a new one would make the agreement's roster wrong.
    """
    if (folder / "identity").exists():
        raise FileExistsError(f"{folder} holds an identity already: use it, or take an empty folder")
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    identity = Identity.generate()
    write_secret(folder / "identity", identity.to_bytes())
    make_node_key(folder)
    write_records(folder / "records.npz", dataset)
    return Enrolment(name, identity.public.hex(), len(dataset.train_y) if declared is None else declared)


def hand_out(agreement: Agreement, authority: Path, *folders: Path) -> None:
    """Put the agreement and the authority's certificate into each folder."""
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "agreement.json").write_text(agreement.to_json(), encoding="utf-8")
        if authority.parent != folder:
            shutil.copyfile(authority, folder / authority.name)


def read_agreement(folder: Path) -> Agreement:
    """Return the agreement that a party holds.

    Raises
    ------
    labkit.federated.FederationError
        If the file is damaged.
    """
    return Agreement.from_json((folder / "agreement.json").read_text(encoding="utf-8"))


def write_records(path: Path, dataset: Dataset) -> None:
    """Write a hospital's data set, readable by its owner only."""
    words = {
        "name": dataset.name,
        "source": dataset.source,
        "real": dataset.real,
        "classes": list(dataset.classes),
    }
    arrays = {part: getattr(dataset, part).cpu().numpy() for part in PARTS}
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, words=np.array(json.dumps(words)), **arrays)


def read_records(path: Path) -> Dataset:
    """Return the data set that `write_records` wrote."""
    import torch

    with np.load(path, allow_pickle=False) as found:
        words = json.loads(str(found["words"]))
        arrays = {part: torch.from_numpy(found[part]) for part in PARTS}
    return Dataset(**{**words, "classes": tuple(words["classes"])}, **arrays)
