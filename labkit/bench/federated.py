"""``labkit bench federated``: secure aggregation against plain averaging and Flower's SecAgg+, in one run."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit import plots, profiles
from labkit.bench.membership import command
from labkit.bench.report import Bench, Line, bars, machine
from labkit.federated.secagg.session import CLOCK
from labkit.results import Result

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CLIP = 1.0  # every value of every vector lies within it
PLAIN, OURS, FLOWER = "plain averaging", "labkit", "Flower SecAgg+"
MISSING = "not compared with Flower's SecAgg+: flwr is not installed; install the extra `federated`"


@dataclass(frozen=True)
class Case:
    """How many hospitals send vectors of how many values, and how many of them vanish after sharing keys."""

    hospitals: int
    values: int
    dropped: int = 0

    @property
    def threshold(self) -> int:
        """More than half, at least three."""
        return max(3, self.hospitals // 2 + 1)

    def __str__(self) -> str:
        gone = f", {self.dropped} dropped" if self.dropped else ""
        return f"{self.hospitals} hospitals x {self.values:,} values{gone}"


@dataclass(frozen=True)
class Round:
    """One round's cost: seconds, bytes that one hospital sends, most memory held by all parties in one process.

    Attributes
    ----------
    client, server : float
        The slowest hospital's processor time, and the server's.
    everybody : float
        All hospitals' and the server's together.
    error : float
        Largest absolute difference of the mean from the true one.
    """

    client: float
    server: float
    everybody: float
    bytes_up: float
    error: float


@dataclass(frozen=True)
class Cost:
    """A scheme's rounds in one case: medians over ``repeats`` rounds, and the fastest and slowest of each time."""

    case: Case
    scheme: str
    client: tuple[float, float, float]
    server: tuple[float, float, float]
    everybody: float
    bytes_up: float
    error: float
    peak_bytes: int
    repeats: int


@dataclass(frozen=True, repr=False)
class FederatedBench(Result):
    """Costs of each scheme in each case, and the ratios of what they add to plain averaging."""

    times: Bench
    costs: tuple[Cost, ...]

    def table(self) -> pd.DataFrame:
        """Return one row a case and scheme."""
        import pandas as pd

        rows = [
            {
                "case": str(cost.case),
                "scheme": cost.scheme,
                "slowest client (ms)": _spread(cost.client),
                "server (ms)": _spread(cost.server),
                "all parties (ms)": f"{1e3 * cost.everybody:.2f}",
                "sent by one (kB)": f"{cost.bytes_up / 1e3:,.1f}",
                "peak memory, all parties (MB)": f"{cost.peak_bytes / 1e6:.1f}",
                "error of the mean": f"{cost.error:.1e}",
            }
            for cost in self.costs
        ]
        return pd.DataFrame(rows).set_index(["case", "scheme"])

    def numbers(self) -> dict[str, Any]:
        """Return machine, ratios and costs."""
        return {**self.times.numbers(), "costs": [asdict(cost) for cost in self.costs]}

    def summary(self) -> str:
        """Return each case's and scheme's time, of all parties together."""
        return "; ".join(
            f"{cost.case}, {cost.scheme}: {1e3 * cost.everybody:.2f} ms of all parties" for cost in self.costs
        )

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draw the time of all parties together, a bar a case and scheme, on a log axis."""
        names = [f"{cost.case}\n{cost.scheme}" for cost in self.costs]
        times = [1e3 * cost.everybody for cost in self.costs]
        ax = bars(ax, names, times, "processor time of all parties, median (ms)")
        return plots.describe(ax.figure, f"Bars of processor time. {self.summary()}.")

    def __str__(self) -> str:
        repeats = self.costs[0].repeats
        head = (
            f"one round in one process, processor time; median [fastest, slowest] of {repeats} rounds, schemes in "
            f"turns; vectors uniform in [-{CLIP:g}, {CLIP:g}], seed 0"
        )
        ratios = f"{self.times}\n\n" if self.times.lines else "\n".join([*self.times.notes, "", ""])
        return f"{ratios}{head}\n{self.table().to_string()}"


def _spread(times: tuple[float, float, float]) -> str:
    middle, low, high = (1e3 * one for one in times)
    return f"{middle:.2f} [{low:.2f}, {high:.2f}]"


def run(cases: Sequence[Case] | None = None, repeats: int | None = None) -> FederatedBench:
    """Measure every scheme in every case, in turns, at the profile's size."""
    profile, facts = profiles.current(), machine()
    cases = cases or profile.pick(
        smoke=(Case(4, 1000), Case(4, 1000, 1)),
        laptop=(Case(5, 100_000), Case(5, 100_000, 1), Case(20, 100_000), Case(20, 100_000, 4), Case(5, 1_000_000)),
        full=(Case(5, 100_000), Case(5, 100_000, 1), Case(20, 100_000), Case(20, 100_000, 4), Case(5, 1_000_000),
              Case(20, 1_000_000), Case(100, 100_000)),
    )  # fmt: skip
    repeats = repeats or profile.pick(smoke=2, laptop=7, full=15)
    schemes: dict[str, Callable[[Case, dict[str, np.ndarray]], Round]] = {PLAIN: plain, OURS: ours}
    notes: tuple[str, ...] = ()
    if _flower():
        schemes[FLOWER] = flower
    else:
        notes = (MISSING,)
    costs, lines = [], []
    for case in cases:
        found = {cost.scheme: cost for cost in _measure(case, schemes, repeats)}
        costs += found.values()
        if FLOWER in found:
            lines += _lines(case, found)
    return FederatedBench(Bench(tuple(lines), facts, notes), tuple(costs))


def _flower() -> bool:
    """Say whether Flower can be imported."""
    try:
        import flwr  # noqa: F401
    except ImportError:
        return False
    return True


def _measure(case: Case, schemes: dict[str, Callable], repeats: int) -> list[Cost]:
    """Run each scheme ``repeats`` times in turns after one round that does not count, and once for its memory."""
    rng = np.random.default_rng(0)
    vectors = {f"hospital {i:02d}": rng.uniform(-CLIP, CLIP, case.values) for i in range(case.hospitals)}
    rounds: dict[str, list[Round]] = {name: [] for name in schemes}
    for turn in range(repeats + 1):
        for name, scheme in schemes.items():
            found = scheme(case, vectors)
            if turn:
                rounds[name].append(found)
    costs = []
    for name, scheme in schemes.items():
        tracemalloc.start()
        scheme(case, vectors)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        made = rounds[name]
        costs.append(
            Cost(
                case,
                name,
                _summary([one.client for one in made]),
                _summary([one.server for one in made]),
                median(one.everybody for one in made),
                made[0].bytes_up,
                max(one.error for one in made),
                peak,
                repeats,
            )
        )
    return costs


def _summary(times: list[float]) -> tuple[float, float, float]:
    return median(times), min(times), max(times)


def _lines(case: Case, found: dict[str, Cost]) -> list[Line]:
    """Return what ours and Flower's cost beyond plain averaging: all parties, a client, the server."""
    base = found[PLAIN]
    pick: dict[str, Callable[[Cost], float]] = {
        "all parties": lambda cost: cost.everybody,
        "slowest client": lambda cost: cost.client[0],
        "server": lambda cost: cost.server[0],
    }
    return [
        Line(
            f"beyond plain averaging, {what}: {case}",
            of(found[OURS]) - of(base),
            of(found[FLOWER]) - of(base),
            FLOWER,
        )
        for what, of in pick.items()
    ]


def _alive(case: Case, vectors: dict[str, np.ndarray]) -> tuple[list[str], np.ndarray]:
    """Return who survives, and the true mean of their vectors."""
    names = list(vectors)[: case.hospitals - case.dropped]
    return names, np.mean([vectors[name] for name in names], axis=0)


def plain(case: Case, vectors: dict[str, np.ndarray]) -> Round:
    """Average in clear: each hospital sends its float32 values, the server adds them up."""
    alive, mean = _alive(case, vectors)
    clients, sent = [], []
    for name in alive:
        start = CLOCK()
        sent.append(vectors[name].astype("<f4").tobytes())
        clients.append(CLOCK() - start)
    start = CLOCK()
    total = np.zeros(case.values)
    for raw in sent:
        total += np.frombuffer(raw, "<f4")
    total /= len(alive)
    server = CLOCK() - start
    error = float(np.abs(total - mean).max())
    return Round(max(clients), server, sum(clients) + server, len(sent[0]), error)


def ours(case: Case, vectors: dict[str, np.ndarray]) -> Round:
    """Run `labkit.federated.secagg`; every message travels as bytes, as Flower's vectors do."""
    from labkit.federated.secagg import Encoding, fresh_round_id, secure_sum

    alive, mean = _alive(case, vectors)
    found = secure_sum(
        vectors,
        threshold=case.threshold,
        encoding=Encoding.finest(CLIP, case.hospitals),
        drop={name: "masked" for name in vectors if name not in alive},
        round_id=fresh_round_id(),
        model_digest=b"benchmark",
    )
    start = CLOCK()
    average = found.total / len(alive)
    server = found.server_seconds + CLOCK() - start
    clients = found.client_seconds
    error = float(np.abs(average - mean).max())
    sent = sum(found.bytes_up.values()) / case.hospitals
    return Round(max(clients.values()), server, sum(clients.values()) + server, sent, error)


def flower(case: Case, vectors: dict[str, np.ndarray]) -> Round:
    """Run Flower's SecAgg+ with the same threshold and every hospital every other's neighbour."""
    from labkit.bench.secaggplus import SecAggPlus

    alive, mean = _alive(case, vectors)
    dropped = tuple(name for name in vectors if name not in alive)
    found = SecAggPlus(vectors, case.threshold, CLIP, dropped).run()
    everybody = sum(found.client_seconds.values()) + found.server_seconds
    error = float(np.abs(found.mean - mean).max())
    return Round(
        max(found.client_seconds.values()),
        found.server_seconds,
        everybody,
        found.bytes_up / case.hospitals,
        error,
    )


def main(arguments: Sequence[str] = ()) -> int:
    """Run ``labkit bench federated``."""
    return command("federated", __doc__, run, arguments)
