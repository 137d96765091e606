"""A hospital's side: each stage once, in order, and a stop with a reason on anything that could cost its privacy.

Follows Bonawitz et al. 2017, "Practical Secure Aggregation for Privacy-Preserving Machine Learning", figure 4, with
the steps for a server that cheats (signed keys, consistency check). Beyond the paper: the set of keys that a hospital
was shown is bound into every encrypted share and signature, and model and terms are compared among hospitals.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np

from labkit.federated.secagg import shamir
from labkit.federated.secagg.encoding import Encoding
from labkit.federated.secagg.errors import SecAggError
from labkit.federated.secagg.keys import (
    AgreementKey,
    Identity,
    derive,
    seal,
    transcript,
    unseal,
    verify,
)
from labkit.federated.secagg.masks import add_mask, commit, pair_mask_key, pair_sign, self_mask_key
from labkit.federated.secagg.messages import (
    Advertisement,
    EncryptedShares,
    MaskedInput,
    SignedSurvivors,
    SurvivorList,
    UnmaskShares,
)
from labkit.federated.secagg.terms import STAGES, Terms, by_sender

_DONE, _STOPPED = "done", "stopped"


class Client:
    """One hospital in one round.

    Call `advertise`, `share`, `masked`, `consistency` and `unmask` in this order. A call that raises ends the round for
    this client: whatever comes later is refused, too.

    Parameters
    ----------
    name : str
        This hospital on the roster.
    identity : Identity
        Its long-lived key; it notes the round, so that the same round is never answered twice.
    roster, threshold, encoding, round_id, model_digest
        See `Terms`. All hospitals must hold the same; a difference stops the round.

    Raises
    ------
    SecAggError
        If the terms protect nobody, the roster holds another key for this name, or the round was taken part in before.
    """

    def __init__(
        self,
        name: str,
        identity: Identity,
        roster: Mapping[str, bytes],
        threshold: int,
        encoding: Encoding,
        round_id: bytes,
        model_digest: bytes,
    ) -> None:
        self.terms = Terms(roster, threshold, encoding, round_id, model_digest)
        self.name = name
        self._identity = identity
        self._check_own_key()
        identity.enter(round_id)
        self._next = STAGES[0]
        self._share_key, self._mask_key = AgreementKey.generate(), AgreementKey.generate()
        self._seed = secrets.token_bytes(shamir.SECRET_BYTES)
        self._shown: dict[str, Advertisement] = {}
        self._view = b""
        self._held: dict[str, bytes] = {}  # of each peer that shared: both shares, seed's first
        self._survivors: tuple[str, ...] = ()

    def _check_own_key(self) -> None:
        if self.terms.roster.get(self.name) != self._identity.public:
            raise SecAggError(
                f"the roster has {'another key' if self.name in self.terms.names else 'no key'} for {self.name!r}: "
                "names and keys are agreed on before the first round"
            )

    @contextmanager
    def _stage(self, stage: str) -> Iterator[None]:
        """Let a stage run if it is its turn; anything raised inside ends the round for good."""
        if self._next != stage:
            turn, self._next = self._next, _STOPPED
            expected = {_DONE: "nothing: the round is over", _STOPPED: "nothing: this client stopped"}
            raise SecAggError(
                f"{self.name} was asked for stage {stage!r}; expected {expected.get(turn, repr(turn))}. "
                "Each stage happens once, in order"
            )
        self._next = _STOPPED
        yield
        after = STAGES.index(stage) + 1
        self._next = STAGES[after] if after < len(STAGES) else _DONE

    def advertise(self) -> Advertisement:
        """Return this hospital's public keys of the round, signed."""
        with self._stage("advertise"):
            return self._own_keys()

    def _own_keys(self) -> Advertisement:
        """Return the signed keys; Ed25519 is deterministic, so they are the same each time."""
        terms = self.terms
        unsigned = (
            terms.round_id,
            self.name,
            self._share_key.public,
            self._mask_key.public,
            commit(self._seed, terms.round_id, self.name),
            terms.model_digest,
            terms.digest,
        )
        signature = self._identity.sign(Advertisement(*unsigned, b"").signed())
        return Advertisement(*unsigned, signature)

    def share(self, advertisements: Sequence[Advertisement]) -> list[EncryptedShares]:
        """Return one message for each peer that advertised: shares of both secrets, encrypted to it.

        Raises
        ------
        SecAggError
            If a signature or key is bad, keys repeat, a message is of another round, a peer has another model or other
            terms, this hospital's own keys were changed, or too few are left.
        """
        with self._stage("share"):
            terms, shown = self.terms, by_sender(advertisements)
            terms.check_group(shown, "share")
            self._check_advertisements(shown)
            self._shown, self._view = shown, terms.view(advertisements)
            numbers = {name: terms.number(name) for name in shown}
            holders = list(numbers.values())
            seeds = shamir.split(self._seed, holders, terms.threshold)
            keys = shamir.split(self._mask_key.to_bytes(), holders, terms.threshold)
            own = numbers[self.name]
            self._held[self.name] = seeds[own] + keys[own]
            return [
                EncryptedShares(terms.round_id, self.name, peer, self._seal(peer, seeds[n] + keys[n]))
                for peer, n in numbers.items()
                if peer != self.name
            ]

    def _check_advertisements(self, shown: Mapping[str, Advertisement]) -> None:
        terms = self.terms
        if shown.get(self.name) != self._own_keys():
            raise SecAggError(
                f"the keys shown for {self.name} are not its own of this round: substituted or left out"
            )
        for name, one in shown.items():
            if name == self.name:
                continue
            terms.check_round(one.round_id, name)
            verify(terms.roster[name], one.signature, one.signed())
            if one.model_digest != terms.model_digest:
                raise SecAggError(
                    f"{name} has a model of digest {one.model_digest.hex()[:16]}, {self.name} one of "
                    f"{terms.model_digest.hex()[:16]}: the server sent different models, and their updates could be told apart"
                )
            if one.terms_digest != terms.digest:
                raise SecAggError(
                    f"{name} and {self.name} differ in roster, threshold or encoding: agree on them first"
                )
        keys = [key for one in shown.values() for key in (one.share_key, one.mask_key)]
        if len(set(keys)) < len(keys):
            raise SecAggError(
                "an agreement key appears twice among the advertisements; expected fresh keys of each"
            )

    def _box_binding(self, sender: str, receiver: str) -> bytes:
        return transcript("shares", self.terms.round_id, sender, receiver, self._view)

    def _box_key(self, sender: str, receiver: str) -> bytes:
        peer = receiver if sender == self.name else sender
        secret = self._share_key.agree(self._shown[peer].share_key)
        return derive(secret, "share box", self.terms.round_id, sender, receiver)

    def _seal(self, peer: str, plain: bytes) -> bytes:
        return seal(self._box_key(self.name, peer), plain, self._box_binding(self.name, peer))

    def masked(self, values: np.ndarray, incoming: Sequence[EncryptedShares]) -> MaskedInput:
        """Return this hospital's vector under its self-mask and one mask for each peer that shared.

        Parameters
        ----------
        values : ndarray of shape (d,)
            float: encoded here. Signed integers: on the grid already (noise added), and taken as they are.
        incoming : sequence of EncryptedShares
            The shares that peers sent to this hospital. A peer without one counts as dropped.

        Raises
        ------
        SecAggError
            If shares do not open, come twice or from strangers, too few shared, or a value does not fit the grid.
        """
        with self._stage("masked"):
            terms = self.terms
            received = by_sender(incoming)
            for peer, box in received.items():
                terms.check_round(box.round_id, peer)
                if peer not in self._shown or box.receiver != self.name or peer == self.name:
                    raise SecAggError(
                        f"shares from {peer} to {box.receiver} reached {self.name}: wrong address"
                    )
                self._held[peer] = self._unseal(peer, box.box)
            terms.check_group(self._held, "masked")
            vector = self._on_grid(values).astype(terms.encoding.dtype)
            add_mask(vector, self_mask_key(self._seed, terms.round_id, self.name))
            for peer in received:
                secret = self._mask_key.agree(self._shown[peer].mask_key)
                key = pair_mask_key(secret, terms.round_id, self.name, peer)
                add_mask(vector, key, pair_sign(self.name, peer))
            return MaskedInput(terms.round_id, self.name, vector)

    def _unseal(self, peer: str, box: bytes) -> bytes:
        plain = unseal(self._box_key(peer, self.name), box, self._box_binding(peer, self.name))
        if len(plain) != 2 * shamir.SHARE_BYTES:
            raise SecAggError(f"shares of {peer} have {len(plain)} bytes; expected {2 * shamir.SHARE_BYTES}")
        return plain

    def _on_grid(self, values: np.ndarray) -> np.ndarray:
        values = np.asarray(values)
        if values.ndim != 1 or not values.size:
            raise SecAggError(f"values have shape {values.shape}; expected one flat vector, not empty")
        encoding = self.terms.encoding
        return encoding.check_integers(values) if values.dtype.kind == "i" else encoding.encode(values)

    def consistency(self, announced: SurvivorList) -> SignedSurvivors:
        """Return a signature under the survivors that the server announces.

        Raises
        ------
        SecAggError
            If a peer is both alive and dropped, one that shared is in neither list (or a stranger in one), this hospital
            is not among the survivors, or too few are left.
        """
        with self._stage("consistency"):
            terms = self.terms
            terms.check_round(announced.round_id, "the server")
            survivors, dropped = set(announced.survivors), set(announced.dropped)
            if both := survivors & dropped:
                raise SecAggError(
                    f"{sorted(both)} are listed as both alive and dropped: whoever gets both secrets reads their vectors"
                )
            if survivors | dropped != set(self._held):
                raise SecAggError(
                    f"survivors {sorted(survivors)} and dropped {sorted(dropped)} are not the hospitals that shared: "
                    f"{sorted(self._held)}"
                )
            terms.check_group(survivors, "consistency")
            if self.name not in survivors:
                raise SecAggError(
                    f"{self.name} sent its vector and is listed as dropped: its mask key would be opened"
                )
            self._survivors = tuple(sorted(survivors))
            return SignedSurvivors(
                terms.round_id, self.name, self._survivors, self._identity.sign(self._survivors_text())
            )

    def _survivors_text(self) -> bytes:
        return self.terms.signed_survivors(self._view, self._held, self._survivors)

    def unmask(self, signatures: Sequence[SignedSurvivors]) -> UnmaskShares:
        """Return a share of each survivor's seed and of each dropped peer's mask key: of nobody both.

        Raises
        ------
        SecAggError
            If fewer survivors than the threshold signed, a signature is bad, or one is under another set than this
            hospital signed: the server told different hospitals different things.
        """
        with self._stage("unmask"):
            terms, signed, text = self.terms, by_sender(signatures), self._survivors_text()
            for name, one in signed.items():
                terms.check_round(one.round_id, name)
                if one.survivors != self._survivors:
                    raise SecAggError(
                        f"{name} signed survivors {list(one.survivors)}, {self.name} signed {list(self._survivors)}: "
                        "the survivors were changed"
                    )
                if name not in self._survivors:
                    raise SecAggError(
                        f"{name} signed, but is not among the survivors {list(self._survivors)}"
                    )
                if name != self.name:
                    verify(terms.roster[name], one.signature, text)
            terms.check_group(signed, "unmask")
            half = shamir.SHARE_BYTES
            alive = [(name, self._held[name][:half]) for name in self._survivors]
            gone = [
                (name, raw[half:]) for name, raw in sorted(self._held.items()) if name not in self._survivors
            ]
            return UnmaskShares(terms.round_id, self.name, tuple(alive), tuple(gone))
