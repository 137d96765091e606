"""What the server looks at in one hospital's answer before it counts: so that a wrong one costs that hospital the round,
and not everybody.

`labkit.federated.secagg.Server` checks the same for all at once, and gives the round up. Not seen here: shares that a
hospital encrypted wrongly for its peers, which only they can open. They stop, and the round is tried again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from labkit.federated.secagg import SecAggError
from labkit.federated.secagg.keys import AgreementKey, verify
from labkit.federated.secagg.messages import (
    Advertisement,
    EncryptedShares,
    MaskedInput,
    Message,
    SignedSurvivors,
    SurvivorList,
    UnmaskShares,
)
from labkit.federated.secagg.terms import Terms

M = TypeVar("M", bound=Message)


def check_parts(parts: Sequence[bytes]) -> list[bytes]:
    """Return an answer if it is a list of bytes, as every one must be."""
    if not isinstance(parts, list | tuple) or not all(isinstance(part, bytes) for part in parts):
        raise SecAggError(f"an answer is {type(parts).__name__} of something else; expected a list of bytes")
    return list(parts)


def read_all(kind: type[M], received: Sequence[bytes]) -> list[M]:
    """Return the messages that ``received`` holds, all of one kind."""
    return [kind.from_bytes(raw) for raw in check_parts(received)]


@dataclass
class Checks:
    """The server's checks in one round, stage by stage; each raises `SecAggError` with what is wrong.

    Attributes
    ----------
    terms : Terms
        Of the round; its ``model_digest`` is what every hospital must have, too.
    dimension : int
        Length of a masked vector.
    """

    terms: Terms
    dimension: int
    names: list[str] = field(default_factory=list)  # of those whose advertisement is good
    keys: set[bytes] = field(default_factory=set)  # that they advertised
    text: bytes = b""  # that every survivor must sign
    survivors: tuple[str, ...] = ()

    def advertisement(self, name: str, parts: Sequence[bytes]) -> Advertisement:
        """Return a hospital's keys of the round, signed by it, fresh, and under the same model and terms."""
        one = self._own(Advertisement, name, parts)
        verify(self.terms.roster[name], one.signature, one.signed())
        if (one.model_digest, one.terms_digest) != (self.terms.model_digest, self.terms.digest):
            raise SecAggError("it holds another agreement or model")
        keys = {one.share_key, one.mask_key}
        if len(keys) < 2 or keys & self.keys:
            raise SecAggError("an agreement key appears twice; expected fresh keys")
        for key in keys:
            AgreementKey.generate().agree(key)  # refuses one that makes every secret zero
        self.keys |= keys
        self.names.append(name)
        return one

    def shares(self, name: str, parts: Sequence[bytes]) -> list[EncryptedShares]:
        """Return a hospital's encrypted shares: one for each other that advertised."""
        boxes = read_all(EncryptedShares, parts)
        for box in boxes:
            self._check_sender(name, box)
        expected = sorted(peer for peer in self.names if peer != name)
        if sorted(box.receiver for box in boxes) != expected:
            raise SecAggError(f"its shares are not one for each of {expected}")
        return boxes

    def masked(self, name: str, parts: Sequence[bytes]) -> MaskedInput:
        """Return a hospital's masked vector, of the right length and type."""
        one = self._own(MaskedInput, name, parts)
        if one.vector.shape != (self.dimension,) or one.vector.dtype != self.terms.encoding.dtype:
            raise SecAggError(
                f"its vector has {one.vector.shape} values of {one.vector.dtype}; expected ({self.dimension},) of "
                f"{self.terms.encoding.dtype}"
            )
        return one

    def announce(
        self, shown: Sequence[Advertisement], sharers: Iterable[str], survivors: tuple[str, ...]
    ) -> None:
        """Take note of what the survivors are asked to sign."""
        self.survivors = survivors
        self.text = self.terms.signed_survivors(self.terms.view(shown), sharers, survivors)

    def signature(self, name: str, parts: Sequence[bytes]) -> SignedSurvivors:
        """Return a survivor's signature under the survivors that were announced."""
        one = self._own(SignedSurvivors, name, parts)
        if one.survivors != self.survivors:
            raise SecAggError(f"it signed survivors {list(one.survivors)}; expected {list(self.survivors)}")
        verify(self.terms.roster[name], one.signature, self.text)
        return one

    def unmasking(self, announced: SurvivorList) -> Callable[[str, Sequence[bytes]], UnmaskShares]:
        """Return the check of a hospital's shares: of the survivors' seeds and of the dropped hospitals' keys."""

        def check(name: str, parts: Sequence[bytes]) -> UnmaskShares:
            one = self._own(UnmaskShares, name, parts)
            given = tuple(tuple(of for of, _ in kind) for kind in (one.seed_shares, one.key_shares))
            if given != (announced.survivors, announced.dropped):
                raise SecAggError(f"its shares are of others than {announced.survivors}, {announced.dropped}")
            return one

        return check

    def _own(self, kind: type[M], name: str, parts: Sequence[bytes]) -> M:
        """Return the one message that ``parts`` must hold, of this round and in the sender's own name."""
        messages = read_all(kind, parts)
        if len(messages) != 1:
            raise SecAggError(f"it sent {len(messages)} messages; expected one {kind.__name__}")
        self._check_sender(name, messages[0])
        return messages[0]

    def _check_sender(self, name: str, message: Message) -> None:
        if message.sender != name:
            raise SecAggError(f"it sent a message of {message.sender!r}; expected one in its own name")
        self.terms.check_round(message.round_id, name)
