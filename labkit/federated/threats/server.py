"""A server that cheats: each way is tried with real messages against the protocol, on every hospital in turn.

The hospitals' vectors are a round of the system itself. A try counts as stopped if the server did not get what it was
after: the hospital refused, or it answered and the answer is of no use (then the server's best next step is taken, and
its result compared with the truth). An honest round with the same code passes, so "refused" is not all that a client can
say. What the protocol cannot stop is shown, too: a server that writes the roster fills it with hospitals of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit import profiles
from labkit.federated.loop import encoding_of
from labkit.federated.rounds import begin, contribute
from labkit.federated.secagg import (
    Client,
    Encoding,
    Identity,
    SecAggError,
    Server,
    fresh_round_id,
    least_threshold,
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
from labkit.federated.threats.findings import Finding, Scale, judge
from labkit.federated.threats.system import System
from labkit.results import Result
from labkit.stats import Interval

if TYPE_CHECKING:
    import pandas as pd

READ = Scale(
    "share of tries after which the server holds a hospital's vector",
    low=0.001,
    medium=0.01,
    high=0.1,
    critical=0.2,
)
NO_CHANCE = "no chance: every hospital is the victim once in each way, and the protocol decides without dice"
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


@dataclass(frozen=True, eq=False)
class ServerStudy(Result):
    """What came of every try: see `study_server`.

    Attributes
    ----------
    tries : tuple of Try
    honest : bool
        Whether the honest round gave the exact sum: the positive control.
    invented : tuple of Try
        A server that writes the roster, and the same with the roster agreed on in advance.
    source, profile : str
    """

    tries: tuple[Try, ...]
    honest: bool
    invented: tuple[Try, ...]
    source: str
    profile: str

    def numbers(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "profile": self.profile,
            "tries": len(self.tries),
            "refused": sum(one.refused for one in self.tries),
            "read by the server": sum(one.read for one in self.tries),
            "honest round gives the exact sum": self.honest,
            "rows": [vars(one) for one in (*self.tries, *self.invented)],
        }

    def table(self) -> pd.DataFrame:
        """Return one row for each way, with the words of the first victim, and how many victims it stopped at."""
        import pandas as pd

        rows = [
            {
                "attempt": way,
                "sent": group[0].sent,
                "the hospital said": group[0].said,
                "refused": f"{sum(one.refused for one in group)} of {len(group)}",
                "server got it": f"{sum(one.read for one in group)} of {len(group)}",
            }
            for way, group in _by_way((*self.tries, *self.invented)).items()
        ]
        honest = {
            "attempt": "none: an honest round (control)",
            "sent": "what the protocol says",
            "the hospital said": "its answers",
            "refused": "0 of 1" if self.honest else "1 of 1",
            "server got it": "the exact sum" if self.honest else "no sum",
        }
        return pd.DataFrame([honest, *rows]).set_index("attempt")

    def findings(self) -> list[Finding]:
        """Return two: the tries against the protocol, and the roster that the protocol takes as given."""
        return [self._protocol(), self._roster()]

    def _protocol(self) -> Finding:
        read, ways = sum(one.read for one in self.tries), _by_way(self.tries)
        refused = sum(one.refused for one in self.tries)
        if not self.honest:
            raise SecAggError(
                "the honest round gave no exact sum: what was refused afterwards proves nothing"
            )
        severity, status = judge(READ, _exact(1, 1), _exact(read, len(self.tries)))
        return Finding(
            title="A server that breaks the rules of secure aggregation",
            severity=severity,
            adversary="a malicious server",
            knowledge="every message; it may change, drop, repeat and invent them, but holds no hospital's signing key",
            evidence=(
                f"{len(self.tries)} tries in {len(ways)} ways ({'; '.join(ways)}): {refused} were refused, "
                f"{len(self.tries) - refused} answered to no use, and {read} gave the server a vector. The honest round gives "
                "the exact sum. In the clear, the server reads all vectors. A way that nobody thought of is not in this list."
            ),
            number="share of tries after which the server holds a hospital's vector",
            interval=_exact(read, len(self.tries)),
            interval_of=NO_CHANCE,
            differs="the whole protocol, against contributions in the clear",
            control="signed keys, double masks, the consistency round, the digest of the model, fresh round ids",
            status=status,
        )

    def _roster(self) -> Finding:
        alone, agreed = (_group(self.invented, read) for read in (True, False))
        severity, status = judge(
            READ,
            _exact(sum(t.read for t in alone), len(alone)),
            _exact(sum(t.read for t in agreed), len(agreed)),
        )
        return Finding(
            title="Invented hospitals on the roster",
            severity=severity,
            adversary="a server that decides who takes part",
            knowledge="the signing keys of the hospitals that it invented; none of the victim's",
            evidence=(
                f"Alone among hospitals of the server's making, {sum(t.read for t in alone)} of {len(alone)} victims handed over "
                f"their exact vector by following the protocol. With the roster fixed in advance, "
                f"{sum(t.refused for t in agreed)} of {len(agreed)} refused."
            ),
            number="share of victims whose vector the server reads, roster fixed in advance",
            interval=_exact(sum(t.read for t in agreed), len(agreed)),
            interval_of=NO_CHANCE,
            differs="who wrote the roster; code, vectors and threshold are the same",
            control="a roster agreed on outside the protocol; each hospital's own noise protects it even so where it is full",
            status=status,
        )


def study_server(system: System, *, seed: int = 0) -> ServerStudy:
    """Try everything that a server could send, against a round of the system's own contributions.

    Parameters
    ----------
    seed : int
        Of the contributions' noise. Keys and masks are drawn by the operating system, as always.
    """
    federation = system.federation
    state = begin(federation)
    names = federation.hospitals.names
    vectors = {name: contribute(federation, name, state, seed=seed) for name in names}
    encoding = encoding_of(federation)
    threshold = max(federation.noise.threshold, least_threshold(len(names)))

    def fresh(identities: dict[str, Identity] | None = None) -> Round:
        return Round(vectors, encoding, threshold, state.digest, identities)

    honest = bool((fresh().total() == sum(vectors.values())).all())
    tries = [_try(way, sent, attempt, fresh, name) for way, (sent, attempt) in WAYS.items() for name in names]
    invented = [_invented(fresh(), name) for name in names]
    invented += [_try("stranger among the agreed", STRANGER, _stranger, fresh, name) for name in names]
    return ServerStudy(
        tuple(tries), honest, tuple(invented), federation.hospitals.source, profiles.current().name
    )


def _try(
    way: str, sent: str, attempt: Callable[..., tuple[str, bool]], fresh: Callable[..., Round], victim: str
) -> Try:
    """Make one try; a SecAggError is a refusal, anything else is the attempt's own outcome."""
    try:
        said, read = attempt(fresh, victim)
    except SecAggError as words:
        return Try(way, sent, victim, str(words), refused=True, read=False)
    return Try(way, sent, victim, said, refused=False, read=read)


def _peer(round_: Round, victim: str) -> str:
    return next(name for name in round_.names if name != victim)


def _other_model(fresh: Callable[..., Round], victim: str) -> tuple[str, bool]:
    round_ = fresh()
    shown = round_.join({victim: b"a model made for this hospital"})
    round_.clients[victim].share([*shown.values()])
    return "shared its secrets under another model", True


def _both_secrets(fresh: Callable[..., Round], victim: str) -> tuple[str, bool]:
    round_ = fresh()
    round_.masked()
    both = SurvivorList(round_.round_id, tuple(sorted(round_.names)), (victim,))
    round_.clients[_peer(round_, victim)].consistency(both)
    return "signed a list with the victim alive and dropped", True


def _two_lists(fresh: Callable[..., Round], victim: str) -> tuple[str, bool]:
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


def _told_dropped(fresh: Callable[..., Round], victim: str) -> tuple[str, bool]:
    round_ = fresh()
    round_.masked()
    rest = tuple(sorted(name for name in round_.names if name != victim))
    round_.clients[victim].consistency(SurvivorList(round_.round_id, rest, (victim,)))
    return "signed that it had dropped", True


def _peers_told_dropped(fresh: Callable[..., Round], victim: str) -> tuple[str, bool]:
    """The others believe it: the server gets the victim's mask key, takes off the pair masks, and looks at what is left."""
    round_ = fresh()
    round_.sent = round_.masked()
    left = _without_pair_masks(round_, victim)
    read = bool((round_.encoding.from_ring(left) == round_.vectors[victim]).any())
    return USELESS + "under the pair masks lies the self-mask, whose shares nobody gave", read


def _without_pair_masks(round_: Round, victim: str) -> np.ndarray:
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


def _changed_survivors(fresh: Callable[..., Round], victim: str) -> tuple[str, bool]:
    round_ = fresh()
    signed = round_.signed()
    fewer = tuple(sorted(name for name in round_.names if name != victim))
    round_.clients[_peer(round_, victim)].unmask([replace(one, survivors=fewer) for one in signed])
    return "opened shares for a list that it had not signed", True


def _substituted(field: str) -> Callable[..., tuple[str, bool]]:
    def attempt(fresh: Callable[..., Round], victim: str) -> tuple[str, bool]:
        round_ = fresh()
        shown = round_.join()
        forged = replace(shown[victim], **{field: AgreementKey.generate().public})
        round_.clients[_peer(round_, victim)].share([*(shown | {victim: forged}).values()])
        return "took the server's key for the victim's", True

    return attempt


def _same_round(fresh: Callable[..., Round], victim: str) -> tuple[str, bool]:
    round_ = fresh()
    round_.join()
    Client(victim, round_.identities[victim], *round_.terms())
    return "took part in the same round twice", True


def _old_keys(fresh: Callable[..., Round], victim: str) -> tuple[str, bool]:
    old = fresh()
    kept = old.join()
    later = fresh(old.identities)
    shown = later.join()
    later.clients[victim].share([shown[victim], *(one for name, one in kept.items() if name != victim)])
    return "shared its secrets under keys of another round", True


def _alone(fresh: Callable[..., Round], victim: str) -> tuple[str, bool]:
    round_ = fresh()
    shown = round_.join()
    round_.clients[victim].share([shown[victim]])
    return "went on alone", True


def _alone_late(fresh: Callable[..., Round], victim: str) -> tuple[str, bool]:
    round_ = fresh()
    round_.shared()
    round_.clients[victim].masked(round_.vectors[victim], [])
    return "sent its vector under its self-mask only", True


def _stranger(fresh: Callable[..., Round], victim: str) -> tuple[str, bool]:
    round_ = fresh()
    shown = round_.join()
    guest = replace(shown[_peer(round_, victim)], sender="a hospital that the server invented")
    round_.clients[victim].share([*shown.values(), guest])
    return "shared its secrets with a stranger", True


def _invented(round_: Round, victim: str) -> Try:
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
WAYS: dict[str, tuple[str, Callable[..., tuple[str, bool]]]] = {
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


def _by_way(tries: Sequence[Try]) -> dict[str, list[Try]]:
    found: dict[str, list[Try]] = {}
    for one in tries:
        found.setdefault(one.way, []).append(one)
    return found


def _group(tries: Sequence[Try], by_server: bool) -> list[Try]:
    return [one for one in tries if (one.way == "roster by the server") == by_server]


def _exact(hits: int, tries: int) -> Interval:
    """Return a share that no chance had a part in, as an interval of no width."""
    share = hits / tries
    return Interval(share, share, share, 0.95, f"all of {tries} cases tried, no chance involved")
