"""Checks of lab 02: what a run costs."""

from __future__ import annotations

import math
import numbers
import warnings
from collections.abc import Callable

from labkit.course.exercises.exercise import Wrong, exercise


@exercise(
    "02.epsilon",
    title="what the run costs",
    points=3,
    difficulty=2,
    importance=5,
    minutes=10,
    reference="labkit.course.checks.lab02.statement:epsilon_by_google",
)
def check_epsilon(attempt: Callable) -> None:
    """The learner's epsilon equals that of Google's PLD accountant for the Poisson-sampled Gaussian, in two settings."""
    first = {"n": 10_000, "expected_batch_size": 500, "epochs": 2, "noise_multiplier": 2.0, "delta": 1e-5}
    second = {"n": 60_000, "expected_batch_size": 240, "epochs": 1, "noise_multiplier": 1.1, "delta": 1e-6}
    for settings in (first, second):
        got, expected = attempt(**settings), epsilon_by_google(**settings)
        if not isinstance(got, numbers.Real) or math.isnan(got):
            raise Wrong(
                given=settings,
                got=got,
                expected="a number",
                because="an accountant came back; its ε at delta is wanted\nget_epsilon(delta)"
                if hasattr(got, "get_epsilon")
                else "return one number, the ε at delta",
            )
        if abs(got / expected - 1) > 0.01:
            cause = _epsilon_cause(got, settings)
            if settings is second:
                cause = (
                    cause
                    or "the other setting came out right: is one of its numbers (rate, steps or delta) written into the function?"
                )
            raise Wrong(
                given=settings,
                got=f"{got:.4f}",
                expected=f"{expected:.4f} (PLD, add/remove)",
                because=cause
                or "no slip that is known here: print your sampling rate and your number of steps, and work both out by hand for this input",
            )


def _epsilon_cause(got: float, settings: dict) -> str | None:
    """Name the slip or the other accountant that gives this value: the nearest one, within half a percent."""
    from labkit.dp.accounting import accountants

    noise, delta, epochs = settings["noise_multiplier"], settings["delta"], settings["epochs"]
    rate = settings["expected_batch_size"] / settings["n"]
    steps = round(epochs / rate)
    values = {
        "one step only: compose the event over all the steps": _google(rate, 1, noise, delta),
        "no credit for sampling: a record is in few of the steps, and all were counted\nPoissonSampledDpEvent with expected_batch_size / n": _google(
            1.0, steps, noise, delta
        ),
        "that is replace-one: asked for is add/remove, the accountant's default, where one record joins or leaves": _google(
            rate, steps, noise, delta, neighbours="REPLACE_ONE"
        ),
        "that is RDP: an upper bound, valid but loose; PLD is asked for (PLDAccountant)": _rdp(
            rate, steps, noise, delta
        ),
        "that is PRV, which also adds its own error to be safe; PLD is asked for (PLDAccountant)": _prv(
            rate, steps, noise, delta
        ),
        "that is GDP's central limit, which is no bound and mostly too low; PLD is asked for": accountants.gdp_epsilon(
            noise, steps, rate, delta=delta
        ),
    }
    if epochs > 1:  # one epoch is one step in both readings
        values[
            "epochs were counted as steps: an epoch has as many steps as expected batches fit into the records\nn / expected_batch_size steps"
        ] = _google(rate, epochs, noise, delta)
    near = min(values, key=lambda why: abs(values[why] - got))
    return near if math.isclose(got, values[near], rel_tol=0.005) else None


def _google(
    sample_rate: float,
    steps: int,
    noise_multiplier: float,
    delta: float,
    neighbours: str = "ADD_OR_REMOVE_ONE",
) -> float:
    from dp_accounting import NeighboringRelation, dp_event
    from dp_accounting.pld import PLDAccountant

    step = dp_event.PoissonSampledDpEvent(sample_rate, dp_event.GaussianDpEvent(noise_multiplier))
    accountant = PLDAccountant(NeighboringRelation[neighbours])
    return accountant.compose(step, steps).get_epsilon(delta)


def _rdp(sample_rate: float, steps: int, noise_multiplier: float, delta: float) -> float:
    from dp_accounting import dp_event
    from dp_accounting.rdp import RdpAccountant

    step = dp_event.PoissonSampledDpEvent(sample_rate, dp_event.GaussianDpEvent(noise_multiplier))
    return RdpAccountant().compose(step, steps).get_epsilon(delta)


def _prv(sample_rate: float, steps: int, noise_multiplier: float, delta: float) -> float:
    """Return Opacus's PRV value; its accountant warns about its own grid."""
    from opacus.accountants import PRVAccountant

    accountant = PRVAccountant()
    accountant.history = [(noise_multiplier, sample_rate, steps)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(accountant.get_epsilon(delta))


def epsilon_by_google(
    n: int, expected_batch_size: float, epochs: int, noise_multiplier: float, delta: float
) -> float:
    """Return epsilon by Google's PLD accountant for Poisson-sampled DP-SGD under add/remove neighbours."""
    steps = round(epochs * n / expected_batch_size)
    return _google(expected_batch_size / n, steps, noise_multiplier, delta)


@exercise(
    "02.sample_rate",
    title="the q that Opacus uses",
    points=2,
    difficulty=2,
    importance=4,
    minutes=5,
    reference="labkit.course.checks.lab02.statement:opacus_sample_rate",
)
def check_sample_rate(attempt: Callable) -> None:
    """The learner predicts 1 / len(loader) for loaders that do and do not divide the records evenly."""
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    for n, batch_size in [(1000, 300), (1000, 250), (60_000, 256), (10, 64)]:
        loader = DataLoader(TensorDataset(torch.zeros(n, 1)), batch_size=batch_size)
        got, expected = attempt(n, batch_size), 1 / len(loader)
        if got is None or not math.isclose(got, expected, rel_tol=1e-9):
            cause = (
                "that is what you meant; Opacus counts the batches of the loader, and their number is rounded up\nit computes 1 / len(loader)"
                if got is not None and math.isclose(got, batch_size / n, rel_tol=1e-9)
                else "count the batches of the loader, the last short one included, then invert"
            )
            raise Wrong(
                given=f"n={n}, batch_size={batch_size}",
                got=repr(got),
                expected=f"{expected:.6g}",
                because=cause,
            )


def opacus_sample_rate(n: int, batch_size: int) -> float:
    """Return the sample rate that ``PrivacyEngine.make_private`` derives from a DataLoader."""
    return 1 / math.ceil(n / batch_size)
