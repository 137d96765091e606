"""ε by other tools' own accountants, on the settings that the labs use: Google's dp-accounting and Opacus.

labkit composes its own privacy loss distribution of a Poisson-sampled step and takes everything else from these two
libraries, so what is compared is the composition, the calls and the conventions; a fault that both libraries share
would not show. TensorFlow Privacy's figures are compared in `labkit.bridges.tf_privacy`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from labkit import profiles
from labkit.bridges.agreement import Agreement, Line, absolute, relative, versions
from labkit.dp import LaplaceEvent, SampledGaussian, privacy_statement

DELTA = 1e-5


class Setting(NamedTuple):
    """One DP-SGD run, as accountants see it."""

    name: str
    noise_multiplier: float
    sample_rate: float
    steps: int

    def event(self) -> SampledGaussian:
        """Return it as our event."""
        sampler = "full" if self.sample_rate == 1 else "poisson"
        return SampledGaussian(self.noise_multiplier, self.steps, self.sample_rate, sampler)


SETTINGS = (
    Setting("MNIST, q = 1/250, 15 epochs", 1.1, 1 / 250, 3750),
    Setting("little noise", 0.6, 0.01, 500),
    Setting("much noise, large batches", 8.0, 0.25, 100),
    Setting("every record in every step", 5.0, 1.0, 20),
)


def dp_accounting() -> Agreement:
    """Compare PLD and RDP figures with dp-accounting's accountants on events put together by hand.

    Returns
    -------
    Agreement
        Relative differences of ε at δ = 1e-5, of which 1e-3 is allowed.
    """
    from dp_accounting import dp_event
    from dp_accounting.pld import PLDAccountant
    from dp_accounting.rdp import RdpAccountant

    lines = []
    for setting in SETTINGS:
        step = dp_event.GaussianDpEvent(setting.noise_multiplier)
        if setting.sample_rate < 1:
            step = dp_event.PoissonSampledDpEvent(setting.sample_rate, step)
        theirs = dp_event.SelfComposedDpEvent(step, setting.steps)
        ours = privacy_statement(setting.event(), delta=DELTA).epsilons
        for name, accountant in (("PLD", PLDAccountant()), ("RDP", RdpAccountant())):
            found = accountant.compose(theirs).get_epsilon(DELTA)
            lines.append(relative(f"ε ({name}), {setting.name}", ours[name], found))
    counts = dp_event.SelfComposedDpEvent(dp_event.LaplaceDpEvent(10.0), 30)
    ours = privacy_statement([LaplaceEvent(10.0)] * 30, delta=DELTA).epsilons
    lines.append(
        relative(
            "ε (PLD), 30 Laplace counts", ours["PLD"], PLDAccountant().compose(counts).get_epsilon(DELTA)
        )
    )
    return Agreement(
        tool="dp-accounting",
        lines=tuple(lines),
        versions=versions(["dp-accounting"]),
        command="labkit bridge dp-accounting",
        source="no records: settings only",
        profile=profiles.current().name,
        notes=("labkit builds on dp-accounting; its PLD of a Poisson-sampled step is its own.",),
    )


def opacus() -> Agreement:
    """Compare with Opacus's RDP curve at its own orders, and our PLD with its PRV accountant.

    Returns
    -------
    Agreement
        RDP: relative, 1e-6 allowed. PRV against PLD: within the error that PRV is asked for.
    """
    from opacus.accountants import PRVAccountant
    from opacus.accountants.analysis import rdp

    orders, error = np.array([2.0, 32.0]), 0.01
    lines: list[Line] = []
    for setting in SETTINGS:
        mine = setting.event().rdp("add/remove", orders)
        theirs = rdp.compute_rdp(
            q=setting.sample_rate,
            noise_multiplier=setting.noise_multiplier,
            steps=setting.steps,
            orders=orders,
        )
        for order, one, other in zip(orders, mine, np.asarray(theirs), strict=True):
            lines.append(relative(f"Rényi divergence of order {order:g}, {setting.name}", one, other, 1e-6))
        accountant = PRVAccountant()
        accountant.history = [(setting.noise_multiplier, setting.sample_rate, setting.steps)]
        with np.errstate(all="ignore"):
            upper = accountant.get_epsilon(DELTA, eps_error=error)
        pld = privacy_statement(setting.event(), delta=DELTA).epsilons["PLD"]
        why = f"PRV's upper end, asked for an error of {error}"
        lines.append(absolute(f"ε, our PLD against PRV, {setting.name}", pld, upper, 2 * error, why))
    return Agreement(
        tool="Opacus",
        lines=tuple(lines),
        versions=versions(["opacus"]),
        command="labkit bridge opacus",
        source="no records: settings only",
        profile=profiles.current().name,
        notes=(
            "labkit reports Opacus's PRV beside its own PLD. Clipped gradients and private steps of the two are compared "
            "in tests/dp/test_gradients.py and tests/dp/test_sgd.py.",
        ),
    )
