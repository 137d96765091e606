"""Commit before release: one hash that leaves nothing to choose when it is opened, and gives the key not away.

It binds the claimant (nobody else can open it in their own name), the key, the model, the mark's kind, options and
number of triggers, a Merkle root of the training records, and how many commitments the claimant makes in all. What a
commitment left open, a forger would choose after a look at the suspect.

The moment in it is the owner's own word; it becomes evidence when `Commitment.record` is deposited with somebody else
before the suspect appears: `labkit.watermark.court.deposits`. Dates alone stop no forger who also deposits early (Liu et
al., arXiv 2304.06607): triggers must follow from the key, and judges must test models that they trained themselves.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from labkit import strict_json
from labkit.results import Result, write_json
from labkit.strict_json import TamperError
from labkit.watermark.court import merkle
from labkit.watermark.marks.keys import GENERATOR, Key

if TYPE_CHECKING:
    import pandas as pd

    from labkit.data import Dataset

FORMAT = "labkit-commitment/2"


@dataclass(frozen=True, repr=False)
class Commitment(Result):
    """What an owner publishes; the key stays secret: see `commit`. It has nothing to draw.

    Attributes
    ----------
    digest : str
        SHA-256 over everything below but the moment, and the key's seed; hexadecimal digits.
    claimant : str
        Who may open it.
    model : str
        `model_digest` of the model committed to.
    kind : str
        The triggers' kind: a key of `labkit.watermark.marks.triggers.KINDS`, or a white-box scheme's name.
    options : dict
        What the triggers are drawn with beside key and kind: numbers, text, true or false.
    count : int
        Triggers that the owner may bring.
    records : str
        `records_root` of the training records, or "" if none are claimed.
    of : int
        How many commitments the claimant makes in all: each is a try, and alpha is shared among them.
    generator : str
        Version of the keyed generator.
    moment : str
        When, in UTC, as ISO 8601; the owner's word.
    """

    digest: str
    claimant: str
    model: str
    kind: str
    options: dict[str, Any]
    count: int
    records: str
    of: int
    generator: str
    moment: str

    @property
    def record(self) -> str:
        """SHA-256 over digest and moment: the line to deposit with somebody else."""
        return _hash([FORMAT, "record", self.digest, self.moment])

    def problems(self, key: Key, model: nn.Module) -> list[str]:
        """Return what does not fit when the owner opens the commitment; an empty list if all does."""
        found = []
        if self.generator != GENERATOR:
            found.append(
                f"generator is {self.generator}; this version draws by {GENERATOR}: install the older one"
            )
        own = model_digest(model)
        if own != self.model:
            found.append(
                f"the model's digest is {own[:12]}…; {self.model[:12]}… was committed: it is another model"
            )
        terms = {name: value for name, value in asdict(self).items() if name not in ("digest", "moment")}
        if not hmac.compare_digest(_digest(key, terms), self.digest):
            found.append(
                f"the key with fingerprint {key.fingerprint} does not open digest {self.digest[:12]}… in the name of "
                f"{self.claimant or 'nobody'}, on these terms"
            )
        return found

    def verify(self, key: Key, model: nn.Module) -> bool:
        """Say whether this key and this very model were committed to; `problems` says what does not fit."""
        return not self.problems(key, model)

    def summary(self) -> str:
        """Return who commits to what, and when by their own word."""
        who = self.claimant or "nobody named"
        return f"{who}, {self.kind}: {self.digest[:16]}…, model {self.model[:12]}…, {self.moment}"

    def numbers(self) -> dict[str, Any]:
        """Return everything but the key, and the line to deposit."""
        return {**asdict(self), "record": self.record}

    def table(self) -> pd.DataFrame:
        """Return one row a fact."""
        import pandas as pd

        return pd.DataFrame(list(self.numbers().items()), columns=["fact", "value"]).set_index("fact")

    def _repr_html_(self) -> str:
        return self.table().to_html(border=0)

    def save(self, path: str | Path) -> Path:
        """Write the commitment as JSON, atomically, and return the path; the key is not in it."""
        return write_json(path, {"format": FORMAT, **self.numbers()})

    @classmethod
    def load(cls, path: str | Path) -> Commitment:
        """Read a commitment that `save` wrote.

        Raises
        ------
        ValueError
            If the file is no commitment.
        TamperError
            If it was changed after it was written, or could be read in two ways.
        """
        try:
            content = strict_json.loads(Path(path).read_text(encoding="utf-8"))
        except TamperError:
            raise
        except ValueError as error:
            raise ValueError(
                f"{path} is not JSON ({error}): pass a file that Commitment.save wrote"
            ) from error
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise ValueError(f"{path} is no {FORMAT} file: pass one that Commitment.save wrote")
        types = {"str": str, "int": int}
        kinds = {one.name: types.get(str(one.type), dict) for one in fields(cls)}
        strict_json.exactly(content, kinds | {"format": str, "record": str}, str(path))
        loaded = cls(**{name: content[name] for name in kinds})
        if loaded.record != content["record"]:
            raise TamperError(f"{path} was changed: its record does not follow from its digest and moment")
        return loaded


def commit(
    key: Key,
    model: nn.Module,
    *,
    kind: str,
    claimant: str = "",
    options: Mapping[str, Any] | None = None,
    count: int = 1,
    records: Dataset | None = None,
    of: int = 1,
    moment: datetime | None = None,
) -> Commitment:
    """Commit to a key, a model and the terms of a mark before the model is released.

    Parameters
    ----------
    key : Key
        From `Key.new()`: whoever guesses a phrase opens the commitment.
    model : nn.Module
    kind : str
        The triggers' kind.
    claimant : str
        Who may open it. A court hears no commitment that names nobody.
    options, count, records, of
        See `Commitment`; ``records`` is the training data, of which the root is kept.
    moment : datetime with a time zone, optional
        Default: now.

    Raises
    ------
    ValueError
        If the moment has no time zone, the kind is empty, an option is no number or text, a number is below 1, or the
        model cannot be digested.
    """
    moment = datetime.now(UTC) if moment is None else moment
    if moment.tzinfo is None or not kind:
        raise ValueError(
            f"got moment {moment} and kind {kind!r}; expected a time with its zone, such as datetime.now(UTC), and a name"
        )
    options = dict(options or {})
    if strange := [
        name for name, value in options.items() if not isinstance(value, str | int | float | bool)
    ]:
        raise ValueError(
            f"option {strange[0]} is no number or text: what cannot be written down binds nobody"
        )
    if count < 1 or of < 1:
        raise ValueError(f"got count={count}, of={of}; expected at least 1 trigger and 1 commitment")
    terms = {
        "claimant": claimant,
        "model": model_digest(model),
        "kind": kind,
        "options": options,
        "count": count,
        "records": "" if records is None else records_root(records, key),
        "of": of,
        "generator": GENERATOR,
    }
    written = moment.astimezone(UTC).isoformat(timespec="seconds")
    return Commitment(digest=_digest(key, terms), **terms, moment=written)


def records_root(records: Dataset, key: Key) -> str:
    """Return the Merkle root of the train records, salted by the key: see `labkit.watermark.court.merkle`."""
    return merkle.root(merkle.leaves(records.train_x, records.train_y, key.sub("records").seed))


def model_digest(model: nn.Module) -> str:
    """Return a SHA-256 hex digest of a model's parameters and buffers: names, types, shapes and bytes.

    It is the same on every device and in every memory layout.

    Raises
    ------
    ValueError
        If the model has no parameters, or state that is not a tensor.
    """
    state = model.state_dict()
    strange = [name for name, value in state.items() if not isinstance(value, Tensor)]
    if strange or not state:
        raise ValueError(
            f"cannot digest a {type(model).__name__}: "
            + (
                f"{strange[0]} is no tensor; commit to the model before quantising it"
                if strange
                else "it has no weights"
            )
        )
    hasher = hashlib.sha256()
    for name in sorted(state):
        value = state[name].detach().cpu().contiguous()
        hasher.update(f"{len(name)}:{name}|{value.dtype}|{tuple(value.shape)}|".encode())
        hasher.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return hasher.hexdigest()


def _digest(key: Key, terms: Mapping[str, Any]) -> str:
    return _hash([FORMAT, dict(terms), key.seed.hex()])


def _hash(parts: list[Any]) -> str:
    """Return SHA-256 over parts, written so that they can be read in one way only."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
