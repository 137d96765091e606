"""The ways in which a server can cheat, each as code: what it sends, what it does with the answer, whether it got it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from labkit.federated.secagg import (
    Client,
    Encoding,
    Identity,
    SecAggError,
    Server,
    fresh_round_id,
    secure_sum_integers,
)
from labkit.federated.secagg.client import pair_mask_key, pair_sign
from labkit.federated.secagg.keys import AgreementKey
from labkit.federated.secagg.masks import add_mask
from labkit.federated.secagg.messages import (
    Advertisement,
    EncryptedShares,
    MaskedInput,
    SignedSurvivors,
    SurvivorList,
    UnmaskShares,
)
from labkit.federated.secagg.shamir import recover

Fresh = Callable[..., "Round"]
Cheat = Callable[[Fresh, str], tuple[str, bool]]
USELESS = "answered; nothing comes of it: "


class Round:
    """Clients and server of one round of the system, stage by stage, for a server that leaves the path somewhere."""

    def __init__(
        self,
        vectors: dict[str, np.ndarray],
        encoding: Encoding,
        threshold: int,
        model_digest: bytes,
        identities: dict[str, Identity] | None = None,
    ) -> None:
        self.vectors, self.encoding, self.model = vectors, encoding, model_digest
        self.identities = identities or {name: Identity.generate() for name in vectors}
        self.threshold, self.round_id = threshold, fresh_round_id()
        self.clients: dict[str, Client] = {}
        self.shown: dict[str, Advertisement] = {}
        self.sent: dict[str, MaskedInput] = {}
        self.opened: dict[str, UnmaskShares] = {}
        self.server = Server(*self.terms())

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.vectors)

    def terms(self, model: bytes | None = None) -> tuple[Any, ...]:
        roster = {name: identity.public for name, identity in self.identities.items()}
        return roster, self.threshold, self.encoding, self.round_id, model or self.model

    def join(self, models: dict[str, bytes] | None = None) -> dict[str, Advertisement]:
        """Let every hospital start; return its advertisement by name."""
        for name in self.names:
            own = (models or {}).get(name)
            self.clients[name] = Client(name, self.identities[name], *self.terms(own))
        return {name: client.advertise() for name, client in self.clients.items()}

    def shared(self) -> dict[str, list[EncryptedShares]]:
        self.shown = self.join()
        shown = self.server.advertisements([*self.shown.values()])
        return self.server.shares({name: client.share(shown) for name, client in self.clients.items()})

    def masked(self) -> dict[str, MaskedInput]:
        mail = self.shared()
        found = {name: client.masked(self.vectors[name], mail[name]) for name, client in self.clients.items()}
        for message in found.values():
            self.server.add(message)
        return found

    def signed(self) -> list[SignedSurvivors]:
        self.masked()
        announced = self.server.survivors()
        return [client.consistency(announced) for client in self.clients.values()]

    def total(self) -> np.ndarray:
        """Run the honest round to its end and return the sum, int64 [d]."""
        signed = self.signed()
        signatures = self.server.signatures(signed)
        return self.server.unmask([client.unmask(signatures) for client in self.clients.values()])


@dataclass(frozen=True)
class Try:
    """One way, on one hospital.

    Attributes
    ----------
    way, sent : str
        Its name; what the server sent.
    victim : str
    said : str
        What the hospital said, in its own words, or what came of its answer.
    refused : bool
        Whether a hospital stopped the round.
    read : bool
        Whether the server then held what it was after.
    """

    way: str
    sent: str
    victim: str
    said: str
    refused: bool
    read: bool


def attempt(way: str, sent: str, cheat: Cheat, fresh: Fresh, victim: str) -> Try:
    """Make one try; a SecAggError is a refusal, anything else is the attempt's own outcome."""
    try:
        said, read = cheat(fresh, victim)
    except SecAggError as words:
        return Try(way, sent, victim, str(words), refused=True, read=False)
    return Try(way, sent, victim, said, refused=False, read=read)


def _peer(round_: Round, victim: str) -> str:
    return next(name for name in round_.names if name != victim)


def _other_model(fresh: Fresh, victim: str) -> tuple[str, bool]:
    round_ = fresh()
    shown = round_.join({victim: b"a model made for this hospital"})
    round_.clients[victim].share([*shown.values()])
    return "shared its secrets under another model", True


def _both_secrets(fresh: Fresh, victim: str) -> tuple[str, bool]:
    round_ = fresh()
    round_.masked()
    both = SurvivorList(round_.round_id, tuple(sorted(round_.names)), (victim,))
    round_.clients[_peer(round_, victim)].consistency(both)
    return "signed a list with the victim alive and dropped", True


def _two_lists(fresh: Fresh, victim: str) -> tuple[str, bool]:
    """Half of the hospitals hear that the victim lives, half that it is gone; both sets of signatures are passed on."""
    round_ = fresh()
    round_.masked()
    everybody = tuple(sorted(round_.names))
    alive = SurvivorList(round_.round_id, everybody, ())
    gone = SurvivorList(round_.round_id, tuple(n for n in everybody if n != victim), (victim,))
    rest = [name for name in everybody if name != victim]
    told = {victim: alive, **{name: alive if at % 2 else gone for at, name in enumerate(rest)}}
    signed = {name: round_.clients[name].consistency(announced) for name, announced in told.items()}
    for answer in (alive, gone):
        fitting = [signed[name] for name, announced in told.items() if announced is answer]
        round_.clients[next(n for n, a in told.items() if a is answer)].unmask(fitting)
    return "opened shares for both lists", True


def _told_dropped(fresh: Fresh, victim: str) -> tuple[str, bool]:
    round_ = fresh()
    round_.masked()
    rest = tuple(sorted(name for name in round_.names if name != victim))
    round_.clients[victim].consistency(SurvivorList(round_.round_id, rest, (victim,)))
    return "signed that it had dropped", True


def _peers_told_dropped(fresh: Fresh, victim: str) -> tuple[str, bool]:
    """The others believe it: the server gets the victim's mask key, takes off the pair masks, and looks at what is left."""
    round_ = fresh()
    round_.sent = round_.masked()
    left = without_pair_masks(round_, victim)
    read = bool((round_.encoding.from_ring(left) == round_.vectors[victim]).any())
    return USELESS + "under the pair masks lies the self-mask, whose shares nobody gave", read


def without_pair_masks(round_: Round, victim: str) -> np.ndarray:
    """Return the victim's masked vector less its pair masks, once the others were told that it dropped."""
    rest = tuple(sorted(name for name in round_.names if name != victim))
    if not round_.opened:
        gone = SurvivorList(round_.round_id, rest, (victim,))
        signed = [round_.clients[name].consistency(gone) for name in rest]
        round_.opened = {name: round_.clients[name].unmask(signed) for name in rest}
    shares = {
        round_.server.terms.number(name): dict(round_.opened[name].key_shares)[victim]
        for name in rest[: round_.threshold]
    }
    key, left = AgreementKey(recover(shares)), round_.sent[victim].vector.copy()
    for peer in rest:
        mask = pair_mask_key(key.agree(round_.shown[peer].mask_key), round_.round_id, peer, victim)
        add_mask(left, mask, -pair_sign(victim, peer))
    return left


def _changed_survivors(fresh: Fresh, victim: str) -> tuple[str, bool]:
    round_ = fresh()
    signed = round_.signed()
    fewer = tuple(sorted(name for name in round_.names if name != victim))
    round_.clients[_peer(round_, victim)].unmask([replace(one, survivors=fewer) for one in signed])
    return "opened shares for a list that it had not signed", True


def _substituted(field: str) -> Cheat:
    def attempt(fresh: Fresh, victim: str) -> tuple[str, bool]:
        round_ = fresh()
        shown = round_.join()
        forged = replace(shown[victim], **{field: AgreementKey.generate().public})
        round_.clients[_peer(round_, victim)].share([*(shown | {victim: forged}).values()])
        return "took the server's key for the victim's", True

    return attempt


def _same_round(fresh: Fresh, victim: str) -> tuple[str, bool]:
    round_ = fresh()
    round_.join()
    Client(victim, round_.identities[victim], *round_.terms())
    return "took part in the same round twice", True


def _old_keys(fresh: Fresh, victim: str) -> tuple[str, bool]:
    old = fresh()
    kept = old.join()
    later = fresh(old.identities)
    shown = later.join()
    later.clients[victim].share([shown[victim], *(one for name, one in kept.items() if name != victim)])
    return "shared its secrets under keys of another round", True


def _alone(fresh: Fresh, victim: str) -> tuple[str, bool]:
    round_ = fresh()
    shown = round_.join()
    round_.clients[victim].share([shown[victim]])
    return "went on alone", True


def _alone_late(fresh: Fresh, victim: str) -> tuple[str, bool]:
    round_ = fresh()
    round_.shared()
    round_.clients[victim].masked(round_.vectors[victim], [])
    return "sent its vector under its self-mask only", True


def to_stranger(fresh: Fresh, victim: str) -> tuple[str, bool]:
    round_ = fresh()
    shown = round_.join()
    guest = replace(shown[_peer(round_, victim)], sender="a hospital that the server invented")
    round_.clients[victim].share([*shown.values(), guest])
    return "shared its secrets with a stranger", True


def invented(round_: Round, victim: str) -> Try:
    """The server writes the roster: the victim among hospitals of its own, which send zeros."""
    size = len(round_.vectors[victim])
    made = {f"invented {number}": np.zeros(size, dtype=np.int64) for number in range(1, len(round_.names))}
    found = secure_sum_integers(
        {victim: round_.vectors[victim], **made},
        threshold=round_.threshold,
        encoding=round_.encoding,
        round_id=fresh_round_id(),
        model_digest=round_.model,
    )
    read = bool((found.integers == round_.vectors[victim]).all())
    sent = "a roster of the victim and hospitals that the server invented, whose vectors are zeros"
    return Try(
        "roster by the server", sent, victim, "followed the protocol: the sum is its vector", False, read
    )


STRANGER = "an advertisement of a hospital that is not on the agreed roster"
WAYS: dict[str, tuple[str, Cheat]] = {
    "inconsistent models": ("another model to this hospital than to the others", _other_model),
    "both secrets at once": ("a list with the victim both alive and dropped", _both_secrets),
    "both secrets by two lists": ("'alive' to one half, 'dropped' to the other", _two_lists),
    "fake dropout, to the victim": ("'you dropped', after its vector came", _told_dropped),
    "fake dropout, to the others": ("'it dropped', after its vector came", _peers_told_dropped),
    "survivors changed later": ("signatures with a shorter list put in", _changed_survivors),
    "substituted key for shares": (
        "a key of the server's in the victim's advertisement",
        _substituted("share_key"),
    ),
    "substituted key for masks": (
        "a key of the server's in the victim's advertisement",
        _substituted("mask_key"),
    ),
    "replayed round": ("the id of a round that it took part in", _same_round),
    "replayed keys": ("the others' advertisements of an earlier round", _old_keys),
    "a round of one, at the start": ("its own advertisement alone", _alone),
    "a round of one, at the masks": ("no shares: all others are said to have dropped", _alone_late),
}
