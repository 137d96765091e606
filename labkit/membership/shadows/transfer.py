"""Transfer attacks: shadow models of another architecture, or of another source of data than the target's.

Shokri et al. (arXiv 1610.05820, section V-C) and Carlini et al. (arXiv 2112.03570, section VII) measure how much an
attacker loses who does not know the target's architecture or data.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from torch import Tensor

from labkit import cache, progress
from labkit.membership.shadows.bank import ShadowBank, ask
from labkit.training.shelf import keep


def transfer_bank(shadows: ShadowBank, to: ShadowBank) -> ShadowBank:
    """Return ``shadows`` asked about the pool of ``to``: an attack on targets of ``to`` with models made elsewhere.

    With another architecture on the same pool nothing needs asking: ``shadows`` comes back as it is. With other data,
    none of its models has seen a record of the pool, so only offline attacks apply.

    Raises
    ------
    ValueError
        If records or classes of the two banks differ in shape or number.
    """
    if shadows.x.shape[1:] != to.x.shape[1:] or len(shadows.classes) != len(to.classes):
        raise ValueError(
            f"shadow models take {tuple(shadows.x.shape[1:])} in {len(shadows.classes)} classes; the target's records "
            f"are {tuple(to.x.shape[1:])} in {len(to.classes)}: choose shadow data of the same shape"
        )
    if shadows.queries != to.queries:
        raise ValueError(
            f"the banks ask {shadows.queries} and {to.queries}; build both with the same queries"
        )
    if _same(shadows.x, to.x) and _same(shadows.population_x, to.population_x):
        return shadows
    key = cache.digest(shadows.key, shadows.rows, to.key, ask)[:32]
    folder, unkept = cache.directory() / "shadows" / key, {}
    for k in progress.track(range(len(shadows)), "asking shadow models of other data"):
        if (folder / f"pool-{k:03d}.npy").is_file():
            continue
        model = shadows.model(k)
        made = {
            f"population-{k:03d}.npy": ask(model, to.population_x, to.queries),
            f"pool-{k:03d}.npy": ask(model, to.x, to.queries),
        }
        if not keep(made, folder, f"{shadows.name}, transferred"):
            unkept |= made
    return replace(
        to,
        name=f"{shadows.name}, transferred",
        masks=np.zeros((len(shadows), len(to.y)), dtype=bool),
        partners=np.full(len(shadows), -1),
        folder=folder,
        rows=np.arange(len(shadows)),
        asked=tuple(range(len(to.queries))),
        make_model=shadows.make_model,
        recipe=shadows.recipe,
        train=shadows.train,
        seconds=0.0,
        key=key,
        _signals={},
        _unkept=unkept,
    )


def _same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and bool((a == b).all())
