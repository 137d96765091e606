"""Commit before release: a hash that binds an owner to a key and a model without giving the key away.

A commitment is worth what its date is worth. The moment that is written here is the owner's own word; it becomes
evidence when `Commitment.record` is deposited with somebody else (a notary, an RFC 3161 time stamp, a printed page)
before the suspect appears. Dates alone stop no forger who also deposits early (Liu et al., arXiv 2304.06607): triggers
must follow from the key, and judges must test models that they trained themselves.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from labkit.results import write_json
from labkit.watermark.marks.keys import GENERATOR, Key

if TYPE_CHECKING:
    import pandas as pd

FORMAT = "labkit-commitment/1"


@dataclass(frozen=True, repr=False)
class Commitment:
    """What an owner publishes; the key stays secret: see `commit`.

    Attributes
    ----------
    digest : str
        SHA-256 over format, generator, kind, model digest and seed, in hexadecimal digits.
    model : str
        `model_digest` of the model committed to.
    kind : str
        The triggers' kind: a key of `labkit.watermark.marks.triggers.KINDS`, or a white-box scheme's name.
    generator : str
        Version of the keyed generator.
    moment : str
        When, in UTC, as ISO 8601.
    """

    digest: str
    model: str
    kind: str
    generator: str
    moment: str

    @property
    def record(self) -> str:
        """SHA-256 over digest and moment: the line to deposit with somebody else."""
        return _hash(FORMAT, "record", self.digest, self.moment)

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
        expected = _digest(key, self.model, self.kind, self.generator)
        if not hmac.compare_digest(expected, self.digest):
            found.append(
                f"the key with fingerprint {key.fingerprint} does not open digest {self.digest[:12]}…"
            )
        return found

    def verify(self, key: Key, model: nn.Module) -> bool:
        """Say whether this key and this very model were committed to; `problems` says what does not fit."""
        return not self.problems(key, model)

    def __repr__(self) -> str:
        return f"Commitment({self.kind}: {self.digest[:16]}…, model {self.model[:12]}…, {self.moment})"

    def table(self) -> pd.DataFrame:
        """Return one row a fact."""
        import pandas as pd

        rows = [*asdict(self).items(), ("record", self.record)]
        return pd.DataFrame(rows, columns=["fact", "value"]).set_index("fact")

    def _repr_html_(self) -> str:
        return self.table().to_html(border=0)

    def save(self, path: str | Path) -> Path:
        """Write the commitment as JSON, atomically, and return the path; the key is not in it."""
        return write_json(path, {"format": FORMAT, **asdict(self), "record": self.record})

    @classmethod
    def load(cls, path: str | Path) -> Commitment:
        """Read a commitment that `save` wrote.

        Raises
        ------
        ValueError
            If the file is no commitment, or was changed after it was written.
        """
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ValueError(
                f"{path} is not JSON ({error}): pass a file that Commitment.save wrote"
            ) from error
        names = [field.name for field in fields(cls)]
        missing = [
            name for name in (*names, "record") if not isinstance(content, dict) or name not in content
        ]
        if missing or content.get("format") != FORMAT:
            lacks = f"lacks {', '.join(missing)}" if missing else f"has format {content.get('format')!r}"
            raise ValueError(f"{path} {lacks}; expected a {FORMAT} file that Commitment.save wrote")
        loaded = cls(**{name: content[name] for name in names})
        if loaded.record != content["record"]:
            raise ValueError(f"{path} was changed: its record does not follow from its digest and moment")
        return loaded


def commit(key: Key, model: nn.Module, *, kind: str, moment: datetime | None = None) -> Commitment:
    """Commit to a key and a model before the model is released.

    Parameters
    ----------
    key : Key
        From `Key.new()`: whoever guesses a phrase opens the commitment.
    model : nn.Module
    kind : str
        The triggers' kind.
    moment : datetime with a time zone, optional
        Default: now.

    Raises
    ------
    ValueError
        If the moment has no time zone, the kind is empty, or the model cannot be digested.
    """
    moment = datetime.now(UTC) if moment is None else moment
    if moment.tzinfo is None or not kind:
        raise ValueError(
            f"got moment {moment} and kind {kind!r}; expected a time with its zone, such as datetime.now(UTC), and a name"
        )
    own = model_digest(model)
    written = moment.astimezone(UTC).isoformat(timespec="seconds")
    return Commitment(_digest(key, own, kind, GENERATOR), own, kind, GENERATOR, written)


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


def _digest(key: Key, model: str, kind: str, generator: str) -> str:
    return _hash(FORMAT, generator, kind, model, key.seed.hex())


def _hash(*parts: str) -> str:
    """Return SHA-256 over parts, each with its length, so that no two lists of parts run together."""
    content = b"".join(f"{len(part.encode())}:{part}".encode() for part in parts)
    return hashlib.sha256(content).hexdigest()
