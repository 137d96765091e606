"""A server that cheats: each way is tried with real messages against the protocol, on every hospital in turn.

The hospitals' vectors are a round of the system itself. A try counts as stopped if the server did not get what it was
after: the hospital refused, or it answered and the answer is of no use (then the server's best next step is taken, and
its result compared with the truth). An honest round with the same code passes, so "refused" is not all that a client can
say. What the protocol cannot stop is shown, too: a server that writes the roster fills it with hospitals of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labkit import profiles
from labkit.federated.loop import encoding_of
from labkit.federated.rounds import begin, contribute
from labkit.federated.secagg import Identity, SecAggError, least_threshold
from labkit.federated.threats.findings import Finding, Scale, judge
from labkit.federated.threats.server_tries import STRANGER, WAYS, Round, Try, attempt, invented, to_stranger
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
    tries = [attempt(way, sent, cheat, fresh, name) for way, (sent, cheat) in WAYS.items() for name in names]
    strange = [invented(fresh(), name) for name in names]
    strange += [attempt("stranger among the agreed", STRANGER, to_stranger, fresh, name) for name in names]
    return ServerStudy(
        tuple(tries), honest, tuple(strange), federation.hospitals.source, profiles.current().name
    )


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
