"""A signed record of what was done, in what order, by whom: evidence that shows when it was touched.

Each entry carries the SHA-256 of the one before it and the Ed25519 signature (RFC 8032) of whoever made it, so none can
be changed, dropped, moved, or written in another's name. A record has a case number and a last entry that counts the
others: a beginning is not the whole. Files are read strictly: what two readers could read in two ways is refused.

What a chain cannot show is *when* it was written: moments are their writers' word, and whoever holds all keys can write
anything at any time. Two things bind them. Somebody else's entry (`Evidence.witness`) says that they saw what stands
before it; a time stamp (`Evidence.stamp`, RFC 3161) says when it was there. Whose public key is whose stands in a
roster that the reader knows from elsewhere; the record cannot vouch for itself.
"""

from __future__ import annotations

import hashlib
import html
import json
import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime, timedelta
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit import cache, strict_json, timestamps
from labkit.results import Result
from labkit.signing import Signer, key_problem, signed
from labkit.strict_json import TamperError

if TYPE_CHECKING:
    import pandas as pd
    from cryptography.x509 import Certificate

__all__ = ["Entry", "Evidence", "Signer", "TamperError"]

FORMAT = "labkit-evidence/2"
WITNESS, STAMP, END = "witnesses", "time stamp", "end"
SKEW = timedelta(minutes=5)  # that honest clocks may differ by
BLOCK = re.compile(r'<script type="application/json" id="record">(.*?)</script>', re.DOTALL)
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00")


@dataclass(frozen=True)
class Entry:
    """One thing that was done.

    Attributes
    ----------
    place : int
        From 1.
    moment : str
        UTC, ISO 8601 to the second: the actor's word.
    actor, action : str
        Who did what.
    content : dict
        JSON: figures, digests, settings. No secret belongs here.
    previous, digest : str
        SHA-256 of the entry before, and of this one with ``previous`` in it.
    signature : str
        The actor's, over the digest.
    """

    place: int
    moment: str
    actor: str
    action: str
    content: dict[str, Any]
    previous: str
    digest: str
    signature: str


@dataclass(frozen=True, repr=False)
class Evidence(Result):
    """A chain of signed entries; each method returns a new one. A record has nothing to draw.

    Attributes
    ----------
    case : str
        The case's number, in every digest: entries of another case do not fit.
    title : str
    entries : tuple of Entry
    """

    case: str
    title: str
    entries: tuple[Entry, ...] = ()

    def add(
        self, actor: str, action: str, content: Any, signer: Signer, *, moment: datetime | None = None
    ) -> Evidence:
        """Return the record with one more entry, signed by its actor.

        Parameters
        ----------
        content : dict, or a result with ``numbers()``
            JSON.
        moment : datetime with a time zone, optional
            When it was done, in the actor's word; default: now.

        Raises
        ------
        ValueError
            If the content is not JSON (NaN and infinity are not), the moment has no time zone, lies before the last
            entry's or in the future, or the record has ended.
        """
        if self.entries and self.entries[-1].action == END:
            raise ValueError(f"case {self.case} has ended: open another record")
        now = datetime.now(UTC)
        moment = now if moment is None else moment
        if moment.tzinfo is None:
            raise ValueError(f"got moment {moment}; expected a time with its zone, such as datetime.now(UTC)")
        written = moment.astimezone(UTC).isoformat(timespec="seconds")
        if self.entries and written < self.entries[-1].moment:
            raise ValueError(f"got moment {written}, before the last entry's {self.entries[-1].moment}")
        if moment > now + SKEW:
            raise ValueError(f"got moment {written}, in the future")
        plain = content.numbers() if hasattr(content, "numbers") else content
        try:
            plain = json.loads(json.dumps(dict(plain), allow_nan=False))
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"content of {action!r} is not JSON ({error}): pass plain numbers and text"
            ) from error
        previous = self.entries[-1].digest if self.entries else self._start
        facts = (len(self.entries) + 1, written, actor, action, plain, previous)
        digest = self._digest(*facts)
        return Evidence(
            self.case, self.title, (*self.entries, Entry(*facts, digest, signer.sign(digest.encode())))
        )

    def witness(self, actor: str, signer: Signer, *, moment: datetime | None = None) -> Evidence:
        """Return the record with somebody else's word that they saw all that stands in it by now."""
        return self.add(actor, WITNESS, {"digest": self._last}, signer, moment=moment)

    def stamp(
        self, response: bytes, actor: str, signer: Signer, *, moment: datetime | None = None
    ) -> Evidence:
        """Return the record with a time stamp over its last entry: see `labkit.timestamps`.

        Parameters
        ----------
        response : bytes
            What an authority answered to a request for ``entries[-1].digest`` (SHA-256).

        Raises
        ------
        StampError
            If it is no time stamp, or one over something else.
        """
        found = timestamps.read(response)
        if found.digest != self._last:
            raise timestamps.StampError(
                f"stamped is {found.digest[:16]}…, the last entry is {self._last[:16]}…"
            )
        content = {"digest": self._last, "rfc3161": response.hex()}
        return self.add(actor, STAMP, content, signer, moment=moment)

    def close(self, actor: str, signer: Signer, *, moment: datetime | None = None) -> Evidence:
        """Return the record with its last entry, which counts the others; nothing can follow."""
        return self.add(actor, END, {"entries": len(self.entries)}, signer, moment=moment)

    @property
    def _last(self) -> str:
        return self.entries[-1].digest if self.entries else self._start

    @property
    def _start(self) -> str:
        return hashlib.sha256(json.dumps([FORMAT, self.case, self.title]).encode()).hexdigest()

    def _digest(self, *facts: Any) -> str:
        text = json.dumps(
            [FORMAT, self.case, *facts],
            sort_keys=True,
            separators=(",", ":"),
            ensure_ascii=True,
            allow_nan=False,
        )
        return hashlib.sha256(text.encode()).hexdigest()

    def problems(
        self,
        roster: Mapping[str, str],
        *,
        case: str | None = None,
        witnessed: Collection[str] = (),
        authorities: Sequence[Certificate | bytes] = (),
    ) -> list[str]:
        """Return what is wrong with the record; an empty list if nothing is.

        Parameters
        ----------
        roster : mapping of str to str
            Each actor's public key, known from elsewhere.
        case : str, optional
            The number that the record should have.
        witnessed : collection of str
            Actions whose entries must be followed at once by somebody else's `witness`, or by a time stamp: a plan, for
            example, which would prove nothing if it was written after the fact.
        authorities : sequence of certificates
            Whose time stamps count. A stamp by nobody known is a problem: it looks like more than it is.
        """
        found = _roster(roster)
        if case is not None and case != self.case:
            found.append(f"the record is of case {self.case}, expected {case}")
        previous = self._start
        for place, entry in enumerate(self.entries, 1):
            where = f"entry {place} ({entry.action})"
            facts = (entry.place, entry.moment, entry.actor, entry.action, entry.content, entry.previous)
            if self._digest(*facts) != entry.digest or entry.place != place:
                found.append(f"{where} was changed")
            if entry.previous != previous:
                found.append(f"{where} does not follow from the one before it")
            if entry.actor not in roster:
                found.append(f"{where} is by {entry.actor}, who is not in the roster")
            elif not signed(roster[entry.actor], entry.signature, entry.digest.encode()):
                found.append(f"{where} is not signed by {entry.actor}")
            previous = entry.digest
        found += self._clock() + self._ending()
        return found + self._seen(witnessed) + self._stamps(authorities)

    def _clock(self) -> list[str]:
        """Return entries whose moments are no moments, in the future, or before the entry before."""
        found, last = [], None
        for entry in self.entries:
            moment = _moment(entry.moment)
            if moment is None or moment > datetime.now(UTC) + SKEW:
                found.append(f"entry {entry.place} ({entry.action}) has no possible moment: {entry.moment!r}")
            elif last is not None and moment < last:
                found.append(
                    f"entry {entry.place} ({entry.action}) is dated before the entry that it follows"
                )
            last = moment or last
        return found

    def _ending(self) -> list[str]:
        ends = [entry for entry in self.entries if entry.action == END]
        if not ends or self.entries[-1].action != END:
            return ["the record has no end: this is a beginning, or something was cut off"]
        if len(ends) > 1 or ends[0].content != {"entries": len(self.entries) - 1}:
            return ["the last entry counts other entries than there are"]
        return []

    def _seen(self, witnessed: Collection[str]) -> list[str]:
        found = []
        for entry, after in zip_longest(self.entries, self.entries[1:]):
            if entry.action not in witnessed:
                continue
            seen = after is not None and after.content.get("digest") == entry.digest
            if not seen or not (
                after.action == STAMP or (after.action == WITNESS and after.actor != entry.actor)
            ):
                found.append(
                    f"entry {entry.place} ({entry.action}) is dated by its writer alone: nobody else had seen it "
                    "before the next entry"
                )
        return found

    def _stamps(self, authorities: Sequence[Certificate | bytes]) -> list[str]:
        """Check time stamps, and that no moment before or after contradicts them."""
        found = []
        for entry, before in zip(self.entries[1:], self.entries, strict=False):
            if entry.action != STAMP:
                continue
            stamped = _stamped(entry, before.digest, authorities)
            if isinstance(stamped, str):
                found.append(f"entry {entry.place} ({STAMP}): {stamped}")
                continue
            for other in self.entries:
                moment, earlier = _moment(other.moment), other.place < entry.place
                if moment and (moment > stamped + SKEW if earlier else moment < stamped - SKEW):
                    found.append(
                        f"entry {other.place} ({other.action}) is dated {other.moment}, but stands "
                        f"{'before' if earlier else 'after'} a time stamp of {stamped.isoformat()}"
                    )
        return found

    def verify(self, roster: Mapping[str, str], **settings: Any) -> Evidence:
        """Return the record itself if nothing is wrong with it: see `problems`.

        Raises
        ------
        TamperError
            If something is.
        """
        if found := self.problems(roster, **settings):
            raise TamperError(f"{visible(self.title)}: {visible('; '.join(found))}")
        return self

    def summary(self) -> str:
        """Return case, title and length in one line; whether anything is wrong with it, `problems` says."""
        ended = "ended" if self.entries and self.entries[-1].action == END else "not ended"
        return f"{visible(self.case)}, {visible(self.title)}: {len(self.entries)} entries, {ended}"

    def table(self) -> pd.DataFrame:
        """Return one row an entry: the chain of custody."""
        import pandas as pd

        rows = [(e.moment, visible(e.actor), visible(e.action), e.digest[:16] + "…") for e in self.entries]
        return pd.DataFrame(rows, columns=["moment (UTC), in their word", "who", "did", "SHA-256"])

    def numbers(self) -> dict[str, Any]:
        """Return everything, for JSON."""
        return {"format": FORMAT, **asdict(self)}

    def save(self, path: str | Path) -> Path:
        """Write JSON, or a self-contained page if the path ends in .html, atomically; return the path."""
        path = Path(path)
        text = (
            self.page()
            if path.suffix == ".html"
            else json.dumps(self.numbers(), indent=1, allow_nan=False) + "\n"
        )
        with cache.atomic_path(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
        return path

    def page(self) -> str:
        """Return a page that needs no network and holds the record itself."""
        # "<" is written as an escape, so no text inside can close the element.
        held = json.dumps(self.numbers(), ensure_ascii=True).replace("<", "\\u003c")
        return _PAGE.format(title=_shown(self.title), body=self._repr_html_(), record=held)

    def _repr_html_(self) -> str:
        parts = [f"<h1>{_shown(self.title)}</h1><p>Case {_shown(self.case)}</p>"]
        for entry in self.entries:
            content = json.dumps(entry.content, indent=1, ensure_ascii=False)
            parts.append(
                f"<h2>{entry.place}. {_shown(entry.action)}</h2><p>{_shown(entry.actor)}, {_shown(entry.moment)}</p>"
                f"<pre>{_shown(content)}</pre><p><small>SHA-256 {_shown(entry.digest)}, signed "
                f"{_shown(entry.signature[:16])}…, after {_shown(entry.previous[:16])}…</small></p>"
            )
        return "".join(parts)

    @classmethod
    def load(cls, path: str | Path) -> Evidence:
        """Read a record that `save` wrote, JSON or HTML; call `verify` on what comes.

        Raises
        ------
        ValueError
            If the file holds no record.
        TamperError
            If the record has fields that are unknown, missing, there twice or of another type, or numbers that are
            none (NaN, infinity); or if a page shows other text than the record that it holds.
        """
        page = Path(path).read_text(encoding="utf-8")
        found = BLOCK.search(page)
        loaded = _read(found.group(1) if found else page, str(path))
        if found and page != loaded.page():
            raise TamperError(f"{path} shows other text than the record that it holds")
        return loaded


def visible(text: str) -> str:
    """Return text with marks of direction, and other characters that do not show, written out.

    Examples
    --------
    >>> visible("not \\u202egnivorp")
    'not [U+202E]gnivorp'
    """
    hidden = ("Cc", "Cf", "Cs", "Zl", "Zp")
    return "".join(
        f"[U+{ord(c):04X}]" if unicodedata.category(c) in hidden and c != "\n" else c for c in text
    )


def _shown(text: str) -> str:
    return html.escape(visible(text))


def _moment(text: str) -> datetime | None:
    """Return a moment as `Evidence.add` writes it, or None."""
    try:
        return datetime.fromisoformat(text) if MOMENT.fullmatch(text) else None
    except ValueError:
        return None


def _stamped(entry: Entry, digest: str, authorities: Sequence[Certificate | bytes]) -> datetime | str:
    """Return the moment of a stamp over ``digest`` by one of the authorities, or what is wrong with it."""
    said = "no authority is known to the reader"
    for authority in authorities:
        try:
            response = bytes.fromhex(entry.content.get("rfc3161", ""))
            return timestamps.check(response, digest, authority).moment
        except (TypeError, ValueError) as error:
            said = str(error)
    return said


def _roster(roster: Mapping[str, str]) -> list[str]:
    found = [
        f"the key of {actor} is refused: {problem}"
        for actor, public in roster.items()
        if (problem := key_problem(public))
    ]
    if len(set(roster.values())) < len(roster):
        found.append("two names in the roster share a key: their entries could not be told apart")
    return found


def _read(text: str, path: str) -> Evidence:
    """Read a record strictly."""
    try:
        found = strict_json.loads(text)
    except TamperError:
        raise
    except ValueError as error:
        raise ValueError(
            f"{path} holds no {FORMAT} record ({error}): pass a file that Evidence.save wrote"
        ) from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise ValueError(f"{path} holds no {FORMAT} record: pass a file that Evidence.save wrote")
    strict_json.exactly(found, {"format": str, "case": str, "title": str, "entries": list}, "the record")
    kinds = {field.name: {"int": int, "str": str}.get(str(field.type), dict) for field in fields(Entry)}
    for entry in found["entries"]:
        strict_json.exactly(entry, kinds, "an entry")
    return Evidence(found["case"], found["title"], tuple(Entry(**entry) for entry in found["entries"]))


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:50rem;margin:2rem auto;padding:0 1rem;overflow-wrap:anywhere}}
pre{{background:#f4f4f4;padding:.6rem;white-space:pre-wrap}}</style></head>
<body>{body}
<script type="application/json" id="record">{record}</script>
</body></html>
"""
