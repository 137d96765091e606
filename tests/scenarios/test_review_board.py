"""Lab 13's scene: three submissions that are what the lab says they are."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from labkit import governance
from labkit.audit.planted import loop
from labkit.audit.task import Settings, Task
from labkit.course.checks.lab13.claims import reference_sampler_of
from labkit.governance.finders import patterns
from labkit.governance.notes import make_notes
from labkit.scenarios import review_board

TASK = Task(torch.zeros(40, 3), torch.zeros(40, dtype=torch.int64), torch.zeros(0, 8), 2)
SETTINGS = Settings(1.0, 1.0, 0.1, 60)


@pytest.mark.parametrize(
    ("batches", "sampler"), [(review_board.shuffled_epochs, "epochs"), (loop.poisson, "poisson")]
)
def test_the_log_holds_every_batch_and_tells_the_sampler(batches, sampler):
    log: list[np.ndarray] = []
    loop.run(TASK, SETTINGS, 0, batches=partial(review_board.logged, batches, log))
    assert len(log) == SETTINGS.steps
    assert reference_sampler_of(log, TASK.n) == sampler


def test_the_two_private_submissions_differ_in_their_batches_alone():
    atlas, cygnus = (step(TASK, SETTINGS, 0) for step in (review_board.atlas_step, review_board.cygnus_step))
    same = loop.run(TASK, SETTINGS, 0, batches=review_board.shuffled_epochs)
    assert torch.equal(atlas.updates, same.updates)
    assert torch.equal(cygnus.updates, loop.correct(TASK, SETTINGS, 0).updates)


def test_vectors_have_length_one_and_drop_digits():
    found = review_board.vectors(["Fever 39, MRN 4711-2032", "fever, MRN", ""])
    assert torch.equal(found[0], found[1])
    assert torch.allclose(found.norm(dim=1), torch.tensor([1.0, 1.0, 0.0]))


def test_a_data_set_says_whether_its_notes_were_redacted_and_how_many_labels_are_wrong():
    notes = make_notes(60, seed=3)
    redacted, wrong = review_board.as_dataset(notes, 40, patterns())
    plain, same = review_board.as_dataset(notes, 40, None)
    assert "redacted by patterns" in redacted.source
    assert "not redacted" in plain.source
    assert redacted.digest != plain.digest
    truth = torch.tensor([int(note.urgent) for note in notes[:40]])
    assert np.array_equal((redacted.train_y != truth).numpy(), wrong)
    assert np.array_equal(wrong, same)


def test_one_claim_is_contradicted_one_promise_broken_and_the_sound_one_gets_conditions(monkeypatch):
    """The key of the lab, on the sizes of profile smoke."""
    monkeypatch.setenv("LABKIT_PROFILE", "smoke")
    scene = review_board.scene()
    wanted = {
        "Atlas": ("reject", "The training code deviates from its settings"),
        "Borealis": ("reject", "Leakage above the promised limit: members found at 1% false positives"),
        "Cygnus": ("approve with conditions", "If there is free text, what did redaction miss"),
    }
    for name, (verdict, reason) in wanted.items():
        found = governance.review(scene.submission(name).project)
        assert found.decision.verdict == verdict, name
        assert any(one.startswith(reason) for one in found.decision.reasons), found.decision.reasons
    claims = {scene.submission(name).project.claim.epsilon for name in ("Atlas", "Cygnus")}
    assert len(claims) == 1
    borealis = scene.submission("Borealis").project.evidence[0]
    assert 0.5 < borealis.value < 0.6  # what the letter calls nearly a coin
