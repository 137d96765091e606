"""The server's side: it routes, adds up and unmasks. Hospitals need not trust it; it checks in order to fail early.

It keeps one running sum, so its memory does not grow with the number of hospitals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from labkit.federated.secagg import shamir
from labkit.federated.secagg.encoding import Encoding
from labkit.federated.secagg.errors import SecAggError
from labkit.federated.secagg.keys import AgreementKey, verify
from labkit.federated.secagg.masks import add_mask, commit, pair_mask_key, pair_sign, self_mask_key
from labkit.federated.secagg.messages import (
    Advertisement,
    EncryptedShares,
    MaskedInput,
    SignedSurvivors,
    SurvivorList,
    UnmaskShares,
)
from labkit.federated.secagg.terms import Terms, by_sender


class Server:
    """The server in one round: `advertisements`, `shares`, `add` for each masked input, `survivors`, `signatures`, `unmask`.

    Raises
    ------
    SecAggError
        At any stage, if fewer than the threshold are left or a message is wrong; see the stage.
    """

    def __init__(
        self,
        roster: Mapping[str, bytes],
        threshold: int,
        encoding: Encoding,
        round_id: bytes,
        model_digest: bytes,
    ) -> None:
        self.terms = Terms(roster, threshold, encoding, round_id, model_digest)
        self._shown: dict[str, Advertisement] = {}
        self._sharers: tuple[str, ...] = ()
        self._survivors: list[str] = []
        self._signed: tuple[str, ...] = ()
        self._total: np.ndarray | None = None
        self._opened = False

    def advertisements(self, received: Sequence[Advertisement]) -> list[Advertisement]:
        """Return what every hospital that advertised is sent: all advertisements."""
        shown = by_sender(received)
        self.terms.check_group(shown, "advertise")
        for name, one in shown.items():
            self.terms.check_round(one.round_id, name)
            verify(self.terms.roster[name], one.signature, one.signed())
        self._shown = shown
        return list(shown.values())

    def shares(self, received: Mapping[str, Sequence[EncryptedShares]]) -> dict[str, list[EncryptedShares]]:
        """Return the shares meant for each hospital that sent some; those that sent none count as dropped.

        Parameters
        ----------
        received : mapping of str to sequence of EncryptedShares
            What each hospital sent, by its name.
        """
        self.terms.check_group(received, "share")
        self._sharers = tuple(sorted(received))
        sent: dict[str, list[EncryptedShares]] = {name: [] for name in self._sharers}
        for sender, boxes in received.items():
            expected = sorted(name for name in self._shown if name != sender)
            if sorted(box.receiver for box in boxes) != expected or any(
                box.sender != sender for box in boxes
            ):
                raise SecAggError(f"{sender} did not send one message to each of {expected}")
            for box in boxes:
                self.terms.check_round(box.round_id, sender)
                if box.receiver in sent:
                    sent[box.receiver].append(box)
        return sent

    def add(self, message: MaskedInput) -> None:
        """Add one masked input to the sum.

        Raises
        ------
        SecAggError
            If it comes from nobody who shared, twice, after the survivors were announced, or has another length.
        """
        self.terms.check_round(message.round_id, message.sender)
        if message.sender not in self._sharers or message.sender in self._survivors or self._opened:
            raise SecAggError(
                f"a masked input of {message.sender} is not expected: one of each that shared, in time"
            )
        if message.vector.dtype != self.terms.encoding.dtype:
            raise SecAggError(
                f"{message.sender} sent {message.vector.dtype}; expected {self.terms.encoding.dtype}"
            )
        if self._total is None:
            self._total = np.zeros(len(message.vector), self.terms.encoding.dtype)
        if message.vector.shape != self._total.shape:
            raise SecAggError(
                f"{message.sender} sent {message.vector.shape} values; expected {self._total.shape}, as the others"
            )
        np.add(self._total, message.vector, out=self._total)
        self._survivors.append(message.sender)

    def survivors(self) -> SurvivorList:
        """Return the list that every survivor is sent: whose inputs are in the sum, who fell out after sharing."""
        self.terms.check_group(self._survivors, "masked")
        self._opened = True
        alive = tuple(sorted(self._survivors))
        return SurvivorList(self.terms.round_id, alive, tuple(sorted(set(self._sharers) - set(alive))))

    def signatures(self, received: Sequence[SignedSurvivors]) -> list[SignedSurvivors]:
        """Return what every hospital that signed is sent: all signatures."""
        signed = by_sender(received)
        self.terms.check_group(signed, "consistency")
        text = self.terms.signed_survivors(
            self.terms.view([*self._shown.values()]), self._sharers, self._survivors
        )
        for name, one in signed.items():
            if name not in self._survivors:
                raise SecAggError(f"{name} signed, but sent no masked input")
            verify(self.terms.roster[name], one.signature, text)
        self._signed = tuple(sorted(signed))
        return list(signed.values())

    def unmask(self, received: Sequence[UnmaskShares]) -> np.ndarray:
        """Return the sum of the survivors' integers, int64 [d].

        Raises
        ------
        SecAggError
            If too few answered, an answer is not what was asked for, or recovered secrets do not fit what was advertised
            (a hospital sent a wrong share): then there is no sum, rather than a wrong one.
        """
        answers = by_sender(received)
        self.terms.check_group(answers, "unmask")
        if self._total is None or not set(answers) <= set(self._signed):
            raise SecAggError(
                f"answers came from {sorted(answers)}; expected some of those that signed: {self._signed}"
            )
        alive = sorted(self._survivors)
        gone = sorted(set(self._sharers) - set(alive))
        chosen = {self.terms.number(name): name for name in sorted(answers)[: self.terms.threshold]}
        for name, answer in answers.items():
            self.terms.check_round(answer.round_id, name)
            if [n for n, _ in answer.seed_shares] != alive or [n for n, _ in answer.key_shares] != gone:
                raise SecAggError(f"{name} sent shares of others than survivors {alive} and dropped {gone}")
        seeds = {number: dict(answers[name].seed_shares) for number, name in chosen.items()}
        keys = {number: dict(answers[name].key_shares) for number, name in chosen.items()}
        total = self._total.copy()
        for name in alive:
            self._take_off_self_mask(total, name, {number: held[name] for number, held in seeds.items()})
        for name in gone:
            self._take_off_pair_masks(total, name, {number: held[name] for number, held in keys.items()})
        return self.terms.encoding.from_ring(total)

    def _take_off_self_mask(self, total: np.ndarray, name: str, shares: Mapping[int, bytes]) -> None:
        seed = shamir.recover(shares)
        if commit(seed, self.terms.round_id, name) != self._shown[name].seed_commitment:
            raise SecAggError(
                f"the seed of {name} that the shares give is not the one it committed to: a share is wrong"
            )
        add_mask(total, self_mask_key(seed, self.terms.round_id, name), -1)

    def _take_off_pair_masks(self, total: np.ndarray, name: str, shares: Mapping[int, bytes]) -> None:
        key = AgreementKey(shamir.recover(shares))
        if key.public != self._shown[name].mask_key:
            raise SecAggError(
                f"the key of {name} that the shares give is not the one it advertised: a share is wrong"
            )
        for peer in self._survivors:
            secret = key.agree(self._shown[peer].mask_key)
            # What the survivor added for the pair is taken off again.
            add_mask(total, pair_mask_key(secret, self.terms.round_id, peer, name), -pair_sign(peer, name))
