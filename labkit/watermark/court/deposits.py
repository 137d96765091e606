"""A commitment's date, by somebody else's word: deposited with a notary, who signs when it came and counts each party's.

An RFC 3161 time stamp (`labkit.timestamps`) dates a hash as well, and counts nobody's: whoever has a thousand
commitments stamped opens the one that fits. So a court takes deposits with a notary whose key it knows.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from labkit.signing import Signer, signed
from labkit.watermark.court.commitments import Commitment

FORMAT = "labkit-deposit/1"


@dataclass(frozen=True)
class Deposit:
    """A notary's receipt.

    Attributes
    ----------
    claimant, record : str
        Whose, and the line that was deposited: `Commitment.record`.
    number : int
        How many this claimant had deposited with this notary by then, this one included.
    moment : str
        When it came, in UTC, as ISO 8601.
    signature : str
        The notary's, Ed25519.
    """

    claimant: str
    record: str
    number: int
    moment: str
    signature: str = ""

    @property
    def message(self) -> bytes:
        """What the notary signs."""
        facts = [FORMAT, *(value for name, value in asdict(self).items() if name != "signature")]
        return json.dumps(facts, ensure_ascii=True).encode()

    @property
    def when(self) -> datetime | None:
        """The moment as a time with its zone, or None if it is none."""
        try:
            moment = datetime.fromisoformat(self.moment)
        except ValueError:
            return None
        return None if moment.tzinfo is None else moment

    def problems(self, commitment: Commitment, notary: str) -> list[str]:
        """Return why the receipt dates nothing; an empty list if it does.

        Parameters
        ----------
        notary : str
            The public key of the notary whom the court trusts.
        """
        if not signed(notary, self.signature, self.message):
            return ["the deposit is not signed by the court's notary"]
        found = []
        if self.record != commitment.record or self.claimant != commitment.claimant:
            found.append("the deposit is of another commitment")
        if self.when is None:
            found.append(f"the deposit has no possible moment: {self.moment!r}")
        if self.number > commitment.of:
            found.append(
                f"it is deposit {self.number} of a party that announced {commitment.of}: each further one is a further try"
            )
        return found


class Notary:
    """Who keeps a book of deposits, and counts each party's.

    Examples
    --------
    >>> notary = Notary(Signer.from_seed(bytes(32)))
    >>> len(notary.public)
    64
    """

    def __init__(self, signer: Signer) -> None:
        self._signer = signer
        self._book: dict[str, list[Deposit]] = {}

    @property
    def public(self) -> str:
        return self._signer.public

    def deposit(self, commitment: Commitment, *, moment: datetime | None = None) -> Deposit:
        """Return a receipt; the same line again gets the receipt that it has.

        Raises
        ------
        ValueError
            If the commitment names no claimant, or the moment has no time zone.
        """
        moment = datetime.now(UTC) if moment is None else moment
        if not commitment.claimant or moment.tzinfo is None:
            raise ValueError(
                f"got claimant {commitment.claimant!r} and moment {moment}; expected a name and a time with its zone"
            )
        book = self._book.setdefault(commitment.claimant, [])
        if known := [receipt for receipt in book if receipt.record == commitment.record]:
            return known[0]
        written = moment.astimezone(UTC).isoformat(timespec="seconds")
        blank = Deposit(commitment.claimant, commitment.record, len(book) + 1, written)
        receipt = Deposit(*list(asdict(blank).values())[:-1], self._signer.sign(blank.message))
        book.append(receipt)
        return receipt
