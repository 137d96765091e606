"""A register of commitments: who promised what, in which order, each line signed by whoever wrote it.

Order is the lines' place in a hash chain, never a date that somebody wrote. A register is read strictly: unknown or
repeated fields, numbers that are not JSON, keys of small order, lines in another's name, and a register whose last line
is missing (a signed beginning is not the whole) are all refused. Public keys come from a roster that the reader holds
already; the register cannot vouch for itself.

Before round 1 every hospital in the roster signs the closing line, whether or not it promised anything, and with it all
lines before: the registrar and some hospitals cannot write the beginning anew after training, to put a promise in, take
one out or exchange one. The registrar and **all** hospitals together could. Which model was released is the registrar's
word alone: a hospital that was handed another final model must say so.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit.federated.marks.enrolment import MarkError
from labkit.results import Result, as_json

if TYPE_CHECKING:
    import pandas as pd

    from labkit.evidence import Signer

FORMAT = "labkit-federated-register/2"
REGISTRAR = "registrar"
ACTIONS = ("commit", "close", "acknowledge", "release", "end")
ONCE = ("close", "release", "end")


class RegisterError(MarkError):
    """A register that cannot be read as one, or a line that it does not take; the message says where."""


@dataclass(frozen=True)
class Entry:
    """One line.

    Attributes
    ----------
    place : int
        From 1.
    actor : str
        A hospital, or "registrar".
    action : {"commit", "close", "acknowledge", "release", "end"}
    content : dict
        JSON; no secret.
    previous, digest : str
        SHA-256 of the line before, and of this one.
    signature : str
        The actor's, Ed25519, over the digest.
    """

    place: int
    actor: str
    action: str
    content: dict[str, Any]
    previous: str
    digest: str
    signature: str


@dataclass(frozen=True, eq=False)
class Register(Result):
    """Lines in order; each method returns a new register.

    Attributes
    ----------
    case : str
        Names the federation; in every digest, so that lines cannot be carried over from another.
    entries : tuple of Entry
    """

    case: str
    entries: tuple[Entry, ...] = ()

    def add(self, actor: str, action: str, content: Mapping[str, Any], signer: Signer) -> Register:
        """Return the register with one more line, signed by its actor.

        Raises
        ------
        RegisterError
            If the action is unknown, the content is not JSON, or the register has ended.
        """
        if action not in ACTIONS:
            raise RegisterError(f"action is {action!r}; expected one of {', '.join(ACTIONS)}")
        if self.entries and self.entries[-1].action == "end":
            raise RegisterError(f"the register of {self.case} has ended: nothing can be added")
        try:
            plain = json.loads(json.dumps(dict(content), allow_nan=False))
        except (TypeError, ValueError) as error:
            raise RegisterError(f"content of {action!r} is not JSON ({error})") from error
        place = len(self.entries) + 1
        previous = self.entries[-1].digest if self.entries else _start(self.case)
        digest = _digest(self.case, place, actor, action, plain, previous)
        entry = Entry(place, actor, action, plain, previous, digest, signer.sign(digest.encode()))
        return Register(self.case, (*self.entries, entry))

    def close(self, start: str, signer: Signer) -> Register:
        """Return the register closed for commitments by the registrar; ``start`` is the digest of the first weights."""
        promised = sum(entry.action == "commit" for entry in self.entries)
        return self.add(REGISTRAR, "close", {"start": start, "commitments": promised}, signer)

    def acknowledge(self, actor: str, signer: Signer) -> Register:
        """Return the register with a hospital's signature under the closing line, and so under all before it.

        Sign only a register that you have read, before round 1: your own promise, and nobody's that came too late.

        Raises
        ------
        RegisterError
            If there is no closing line yet.
        """
        if not any(entry.action == "close" for entry in self.entries):
            raise RegisterError(
                f"{actor} cannot acknowledge: the register of {self.case} is not closed; the registrar closes it first"
            )
        return self.add(actor, "acknowledge", {"close": self.line("close").digest}, signer)

    def release(self, model: str, rounds: int, signer: Signer) -> Register:
        """Return the register with the digest of the final global weights, and ended."""
        written = self.add(REGISTRAR, "release", {"model": model, "rounds": rounds}, signer)
        return written.add(REGISTRAR, "end", {"lines": len(written.entries) + 1}, signer)

    def problems(self, roster: Mapping[str, str]) -> list[str]:
        """Return what is wrong; an empty list if nothing is.

        Parameters
        ----------
        roster : mapping of str to str
            Public key (64 hexadecimal digits) of each hospital of the federation and of "registrar", known from
            elsewhere. Each of these hospitals must have acknowledged the closing line.
        """
        found, previous = _roster(roster), _start(self.case)
        for place, entry in enumerate(self.entries, 1):
            line = f"line {place} ({entry.action} by {entry.actor})"
            own = _digest(self.case, entry.place, entry.actor, entry.action, entry.content, entry.previous)
            if own != entry.digest or entry.place != place:
                found.append(f"{line} was changed")
            if entry.previous != previous:
                found.append(f"{line} does not follow from the one before it")
            if entry.actor not in roster or not _signed(roster[entry.actor], entry):
                found.append(f"{line} is not signed by {entry.actor}")
            if (entry.action in ("commit", "acknowledge")) == (entry.actor == REGISTRAR):
                found.append(f"{line}: hospitals commit and acknowledge, the registrar does the rest")
            previous = entry.digest
        return found + (self._order() or self._unacknowledged(roster))

    def _order(self) -> list[str]:
        actions = [entry.action for entry in self.entries]
        found = [
            f"{action!r} stands {actions.count(action)} times; expected once"
            for action in ONCE
            if actions.count(action) != 1
        ]
        if found:
            return found
        if actions[-1] != "end" or self.entries[-1].content != {"lines": len(actions)}:
            return [
                "the register goes on after its end, or is cut: the last line must say how many there are"
            ]
        if not actions.index("close") < actions.index("release"):
            return ["the model was released before commitments were closed"]
        closed = self.line("close")
        if closed.content.get("commitments") != actions[: closed.place].count("commit"):
            return ["the registrar closed over another number of commitments than stands before"]
        return []

    def _unacknowledged(self, roster: Mapping[str, str]) -> list[str]:
        """Return whose signature under the closing line is missing, or wrong, between it and the release."""
        close, release = self.line("close"), self.line("release")
        lines = [entry for entry in self.entries if entry.action == "acknowledge"]
        found = [
            f"line {entry.place}: {entry.actor} acknowledges another closing line, or not between it and the release"
            for entry in lines
            if entry.content != {"close": close.digest} or not close.place < entry.place < release.place
        ]
        missing = sorted(set(roster) - {REGISTRAR} - {entry.actor for entry in lines})
        if missing:
            found.append(
                f"{', '.join(missing)} did not acknowledge the closing line: without every hospital's signature the "
                "registrar could write what stands before it after training"
            )
        return found

    def line(self, action: str) -> Entry:
        """Return the one line with this action."""
        return next(entry for entry in self.entries if entry.action == action)

    def commitments(self, actor: str) -> list[Entry]:
        """Return all commitments in one hospital's name, early and late."""
        return [entry for entry in self.entries if entry.action == "commit" and entry.actor == actor]

    def numbers(self) -> dict[str, Any]:
        return {"format": FORMAT, "case": self.case, "entries": [asdict(entry) for entry in self.entries]}

    def summary(self) -> str:
        ended = "ended" if self.entries and self.entries[-1].action == "end" else "not ended"
        return f"register of {self.case}: {len(self.entries)} lines, {ended}"

    def table(self) -> pd.DataFrame:
        """One row per line."""
        import pandas as pd

        rows = [
            {"line": e.place, "who": e.actor, "did": e.action, "SHA-256": e.digest[:16] + "…"}
            for e in self.entries
        ]
        return pd.DataFrame(rows, columns=["line", "who", "did", "SHA-256"]).set_index("line")

    def text(self) -> str:
        """Return the register as JSON, for `read`."""
        return json.dumps(as_json(self.numbers()), indent=1, ensure_ascii=True)


def read(text_or_path: str | Path) -> Register:
    """Read a register strictly; call `Register.problems` on what comes.

    Raises
    ------
    RegisterError
        For anything but exactly the fields of a register, each once, with values of their type.
    """
    text = text_or_path.read_text(encoding="utf-8") if isinstance(text_or_path, Path) else text_or_path
    try:
        found = json.loads(text, object_pairs_hook=_each_once, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise RegisterError(f"the register is not JSON ({error})") from error
    _exactly(found, {"format": str, "case": str, "entries": list}, "the register")
    if found["format"] != FORMAT:
        raise RegisterError(f"format is {found['format']!r}; expected {FORMAT!r}")
    types = {f.name: {"int": int, "str": str}.get(str(f.type), dict) for f in fields(Entry)}
    for entry in found["entries"]:
        _exactly(entry, types, "a line")
    return Register(found["case"], tuple(Entry(**entry) for entry in found["entries"]))


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        raise RegisterError(f"a field stands twice among {names}: two readers could read two registers")
    return dict(pairs)


def _no_constant(name: str) -> Any:
    raise RegisterError(f"{name} is no JSON number")


def _exactly(found: Any, types: Mapping[str, type], what: str) -> None:
    if not isinstance(found, dict) or set(found) != set(types):
        names = sorted(found) if isinstance(found, dict) else type(found).__name__
        raise RegisterError(f"{what} has {names}; expected exactly {sorted(types)}")
    for name, kind in types.items():
        if type(found[name]) is not kind:
            raise RegisterError(f"{what}: {name} is a {type(found[name]).__name__}; expected {kind.__name__}")


def _start(case: str) -> str:
    return hashlib.sha256(json.dumps([FORMAT, case]).encode()).hexdigest()


def _digest(case: str, place: int, actor: str, action: str, content: Any, previous: str) -> str:
    parts = [FORMAT, case, place, actor, action, content, previous]
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _roster(roster: Mapping[str, str]) -> list[str]:
    """Return what is wrong with public keys: malformed, of small order, or shared."""
    from labkit.federated.secagg.errors import SecAggError
    from labkit.federated.secagg.keys import check_public

    found = []
    for name, public in roster.items():
        try:
            check_public(bytes.fromhex(public))
        except (SecAggError, ValueError) as error:
            found.append(f"the key of {name} is refused: {error}")
    if len(set(roster.values())) < len(roster):
        found.append("two names in the roster share a key: their lines could not be told apart")
    if REGISTRAR not in roster:
        found.append("the roster has no registrar")
    return found


def _signed(public: str, entry: Entry) -> bool:
    from labkit.federated.secagg.errors import SecAggError
    from labkit.federated.secagg.keys import verify

    try:
        verify(bytes.fromhex(public), bytes.fromhex(entry.signature), entry.digest.encode())
    except (SecAggError, ValueError):
        return False
    return True
