"""torch's global random state is one for all threads: nobody in the kit seeds it but through `labkit.models.seeded`."""

import ast
import threading
from pathlib import Path

import pytest
import torch
from torch import nn

import labkit
from labkit import models

HOME = Path(labkit.__file__).parent
# models.seeded itself; the grading worker gives its own process back the state that it had.
JUSTIFIED = {"models.py", "course/grading/worker.py"}
# A run's own block, which `seeded` surrounds, goes on from the state that a checkpoint holds.
RESTORES = {"dp/training/run.py": {"set_rng_state"}}
SEEDING = {"manual_seed", "manual_seed_all", "seed", "set_rng_state", "fork_rng"}
OWNERS = {"torch", "torch.random", "torch.cuda"}


def seedings(source: str) -> set[str]:
    """Return what a module calls that seeds, sets or forks torch's global state; a Generator's own seed is none."""
    tree, found = ast.parse(source), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in SEEDING and ast.unparse(node.value) in OWNERS:
            found.add(node.attr)
        if isinstance(node, ast.ImportFrom) and node.module in OWNERS:
            found |= SEEDING & {alias.name for alias in node.names}
    return found


def test_nobody_seeds_the_global_state_past_the_lock():
    loose = {
        name: found
        for path in sorted(HOME.rglob("*.py"))
        if (name := path.relative_to(HOME).as_posix()) not in JUSTIFIED
        and (found := seedings(path.read_text(encoding="utf-8")) - RESTORES.get(name, set()))
    }
    assert not loose, f"use labkit.models.seeded(seed) in {loose}"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("torch.manual_seed(0)", {"manual_seed"}),
        ("with torch.random.fork_rng(devices=[]): pass", {"fork_rng"}),
        ("from torch import manual_seed as calm", {"manual_seed"}),
        ("torch.Generator().manual_seed(0); random.seed(0); numpy.random.seed(0)", set()),
    ],
)
def test_the_search_sees_what_it_is_for(source, expected):
    assert seedings(source) == expected


def test_two_threads_that_build_models_at_once_do_not_mix_their_streams():
    """Each waits inside its block for the other to try: without the lock, they would draw in turns from one stream."""
    turn = threading.Barrier(2)

    def build(seed: int, pause: float | None) -> list[torch.Tensor]:
        with models.seeded(seed):
            layers = []
            for _ in range(4):
                layers.append(nn.Linear(3, 3).weight.detach().clone())
                if pause is not None:
                    try:
                        turn.wait(pause)  # both inside at once: the lock is gone
                        met.append(seed)
                    except threading.BrokenBarrierError:
                        pass
            return layers

    met: list[int] = []
    alone, together = {seed: build(seed, None) for seed in (1, 2)}, {}
    threads = [
        threading.Thread(target=lambda seed=seed: together.update({seed: build(seed, 0.2)}))
        for seed in (1, 2)
    ]
    before = torch.get_rng_state()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not met
    assert torch.equal(torch.get_rng_state(), before)
    for seed, layers in alone.items():
        assert all(torch.equal(a, b) for a, b in zip(layers, together[seed], strict=True))
