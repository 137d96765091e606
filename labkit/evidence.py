"""A signed record of what was done, in what order, by whom: evidence that shows when it was touched.

Each entry carries the SHA-256 of the one before it, so none can be changed, dropped or moved without breaking the chain;
an Ed25519 signature (RFC 8032) over the last hash seals the whole. The signature says that the holder of a key wrote
this; whose key it is, and that the clock was right, is for a notary to say. The HTML page holds the same JSON, so the
page alone can be verified.
"""

from __future__ import annotations

import hashlib
import html
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit import cache
from labkit.results import write_json

if TYPE_CHECKING:
    import pandas as pd
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

FORMAT = "labkit-evidence/1"
START = "0" * 64
BLOCK = re.compile(r'<script type="application/json" id="record">(.*?)</script>', re.DOTALL)


class TamperError(ValueError):
    """The record was changed after it was written, or signed by somebody else; the message says where."""


class Signer:
    """An Ed25519 private key; `repr` shows the public one."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private

    @classmethod
    def new(cls) -> Signer:
        """Return a fresh key."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_seed(cls, seed: bytes) -> Signer:
        """Return the key of 32 secret bytes: for lessons and tests, or from a safe."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return cls(Ed25519PrivateKey.from_private_bytes(seed))

    @property
    def public(self) -> str:
        """The public key, 64 hexadecimal digits: publish it before the first signature."""
        return self._private.public_key().public_bytes_raw().hex()

    def sign(self, message: bytes) -> str:
        """Return the signature, 128 hexadecimal digits."""
        return self._private.sign(message).hex()

    def __repr__(self) -> str:
        return f"Signer(public key {self.public[:16]}…)"


@dataclass(frozen=True)
class Entry:
    """One thing that was done.

    Attributes
    ----------
    moment : str
        UTC, ISO 8601.
    actor, action : str
        Who did what.
    content : dict
        JSON: figures, digests, settings. No secret belongs here.
    previous, digest : str
        SHA-256 of the entry before, and of this one with ``previous`` in it.
    """

    moment: str
    actor: str
    action: str
    content: dict[str, Any]
    previous: str
    digest: str


def _digest(moment: str, actor: str, action: str, content: dict[str, Any], previous: str) -> str:
    text = json.dumps(
        [FORMAT, moment, actor, action, content, previous],
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=True,
        allow_nan=False,
    )
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, repr=False)
class Evidence:
    """A chain of entries, signed or not yet; each method returns a new one.

    Attributes
    ----------
    title : str
    entries : tuple of Entry
    signer, signature : str
        Public key and signature, empty while unsigned.
    """

    title: str
    entries: tuple[Entry, ...] = ()
    signer: str = ""
    signature: str = ""

    def add(
        self, actor: str, action: str, content: dict[str, Any], *, moment: datetime | None = None
    ) -> Evidence:
        """Return the record with one more entry, unsigned.

        Raises
        ------
        ValueError
            If the content is not JSON (NaN and infinity are not), the moment has no time zone, or lies before the last
            entry's.
        """
        moment = datetime.now(UTC) if moment is None else moment
        if moment.tzinfo is None:
            raise ValueError(f"got moment {moment}; expected a time with its zone, such as datetime.now(UTC)")
        written = moment.astimezone(UTC).isoformat(timespec="seconds")
        if self.entries and written < self.entries[-1].moment:
            raise ValueError(f"got moment {written}, before the last entry's {self.entries[-1].moment}")
        try:
            content = json.loads(json.dumps(content, allow_nan=False))
            previous = self.entries[-1].digest if self.entries else START
            digest = _digest(written, actor, action, content, previous)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"content of {action!r} is not JSON ({error}): pass plain numbers and text"
            ) from error
        entry = Entry(written, actor, action, content, previous, digest)
        return Evidence(self.title, (*self.entries, entry))

    @property
    def head(self) -> str:
        """Hash that stands for the whole record: title, number of entries and the last digest."""
        last = self.entries[-1].digest if self.entries else START
        return hashlib.sha256(json.dumps([FORMAT, self.title, len(self.entries), last]).encode()).hexdigest()

    def sign(self, signer: Signer) -> Evidence:
        """Return the record sealed by a private key."""
        return Evidence(self.title, self.entries, signer.public, signer.sign(self.head.encode()))

    def problems(self, *, signer: str | None = None) -> list[str]:
        """Return what is wrong with the record; an empty list if nothing is.

        Parameters
        ----------
        signer : str, optional
            The public key that should have signed, known from elsewhere. Without it, whoever rewrote the record could
            have signed it anew: the check then says only that it is whole.
        """
        found, previous = [], START
        for number, entry in enumerate(self.entries, 1):
            own = _digest(entry.moment, entry.actor, entry.action, entry.content, entry.previous)
            if own != entry.digest:
                found.append(f"entry {number} ({entry.action}) was changed")
            if entry.previous != previous:
                found.append(f"entry {number} ({entry.action}) does not follow from the one before it")
            previous = entry.digest
        if not self.signature:
            return [*found, "the record is not signed"]
        if signer is not None and signer != self.signer:
            found.append(f"signed by {self.signer[:16]}…, expected {signer[:16]}…")
        if not _signed(self.signer, self.signature, self.head.encode()):
            found.append("the signature does not fit: an entry was changed, added or dropped")
        return found

    def verify(self, *, signer: str | None = None) -> Evidence:
        """Return the record itself if nothing is wrong with it: see `problems`.

        Raises
        ------
        TamperError
            If something is.
        """
        if found := self.problems(signer=signer):
            raise TamperError(f"{self.title}: {'; '.join(found)}")
        return self

    def __repr__(self) -> str:
        seal = f"signed by {self.signer[:16]}…" if self.signature else "unsigned"
        return f"Evidence({self.title}: {len(self.entries)} entries, {seal})"

    def table(self) -> pd.DataFrame:
        """Return one row an entry: the chain of custody."""
        import pandas as pd

        rows = [(e.moment, e.actor, e.action, e.digest[:16] + "…") for e in self.entries]
        return pd.DataFrame(rows, columns=["moment (UTC)", "who", "did", "SHA-256"])

    def numbers(self) -> dict[str, Any]:
        """Return everything, for JSON."""
        return {"format": FORMAT, **asdict(self)}

    def save(self, path: str | Path) -> Path:
        """Write JSON, or a self-contained page if the path ends in .html, atomically; return the path."""
        path = Path(path)
        if path.suffix != ".html":
            return write_json(path, self.numbers())
        with cache.atomic_path(path) as temporary:
            temporary.write_text(self.page(), encoding="utf-8")
        return path

    def page(self) -> str:
        """Return a page that needs no network and holds the record itself."""
        # "<" is written as an escape, so no text inside can close the element.
        held = json.dumps(self.numbers(), ensure_ascii=True).replace("<", "\\u003c")
        return _PAGE.format(title=html.escape(self.title), body=self._repr_html_(), record=held)

    def _repr_html_(self) -> str:
        parts = [f"<h1>{html.escape(self.title)}</h1>"]
        for number, entry in enumerate(self.entries, 1):
            parts.append(
                f"<h2>{number}. {html.escape(entry.action)}</h2><p>{html.escape(entry.actor)}, {entry.moment}</p>"
                f"<pre>{html.escape(json.dumps(entry.content, indent=1, ensure_ascii=False))}</pre>"
                f"<p><small>SHA-256 {entry.digest}, after {entry.previous[:16]}…</small></p>"
            )
        seal = f"Signed (Ed25519) by {self.signer}: {self.signature}" if self.signature else "Not signed."
        return "".join([*parts, f"<p><b>{seal}</b></p>"])

    @classmethod
    def load(cls, path: str | Path) -> Evidence:
        """Read a record that `save` wrote, JSON or HTML; call `verify` on what comes.

        Raises
        ------
        ValueError
            If the file holds no record.
        TamperError
            If a page shows other text than the record that it holds.
        """
        page = Path(path).read_text(encoding="utf-8")
        found = BLOCK.search(page)
        text = found.group(1) if found else page
        try:
            content = json.loads(text)
            if content["format"] != FORMAT:
                raise KeyError(f"format {content['format']!r}")
            entries = tuple(Entry(**entry) for entry in content["entries"])
            loaded = cls(content["title"], entries, content["signer"], content["signature"])
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path} holds no {FORMAT} record ({error}): pass a file that Evidence.save wrote"
            ) from error
        if found and page != loaded.page():
            raise TamperError(f"{path} shows other text than the record that it holds")
        return loaded


def record(
    title: str, results: Sequence[tuple[str, str, Any]], signer: Signer, *, moment: datetime | None = None
) -> Evidence:
    """Return a signed record of several results.

    Parameters
    ----------
    results : sequence of (actor, action, content)
        Content is a dict, or a result with ``numbers()``.
    """
    evidence = Evidence(title)
    for actor, action, content in results:
        plain = content.numbers() if hasattr(content, "numbers") else content
        evidence = evidence.add(actor, action, plain, moment=moment)
    return evidence.sign(signer)


def _signed(public: str, signature: str, message: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public)).verify(bytes.fromhex(signature), message)
    except (InvalidSignature, ValueError):
        return False
    return True


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:50rem;margin:2rem auto;padding:0 1rem;overflow-wrap:anywhere}}
pre{{background:#f4f4f4;padding:.6rem;white-space:pre-wrap}}</style></head>
<body>{body}
<script type="application/json" id="record">{record}</script>
</body></html>
"""
