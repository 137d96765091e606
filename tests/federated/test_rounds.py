"""Rounds: bounded contributions, exact sums, the same model in the clear and by secure aggregation, refusals."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from labkit import federated, models
from labkit.federated import FederationError, Noise, Training, rounds

CLINICS = federated.load_hospitals("breast_cancer", by="size", seed=0)
TABLE = partial(models.logistic_regression, 30, 2)
STEPS = Training(rounds=3, learning_rate=1.0, momentum=0.9, schedule="linear", average_from=0.5)
PRIVATE = Noise("distributed", noise_multiplier=5.0, max_grad_norm=0.5, threshold=3)


def federation(training=STEPS, noise=PRIVATE, make_model=TABLE, **more):
    return federated.Federation(CLINICS, make_model, training, noise, **more)


def perceptron(seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(30, 8), nn.ReLU(), nn.Linear(8, 2))


def test_weights_survive_the_way_to_a_vector_and_back():
    model = perceptron()
    vector = rounds.flatten(model)
    assert len(vector) == 30 * 8 + 8 + 8 * 2 + 2
    other = rounds.unflatten(perceptron(seed=1), vector)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))
    with pytest.raises(FederationError, match="finite numbers"):
        rounds.unflatten(model, np.full(len(vector), np.nan))
    with pytest.raises(FederationError, match=r"expected \(266,\)"):
        rounds.unflatten(model, vector[:-1])


def test_gradient_rounds_without_noise_are_plain_gradient_descent():
    training = Training(rounds=4, learning_rate=0.7)
    found = federated.federate(federation(training, Noise()), seed=0, secure=False)
    model, pooled = TABLE(), CLINICS.pooled()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.7)
    for _ in range(4):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(pooled.train_x), pooled.train_y).backward()
        optimizer.step()
    assert np.abs(found.weights - rounds.flatten(model)).max() < 1e-5


def test_secure_aggregation_gives_the_same_model_bit_for_bit_with_hospitals_that_vanish():
    drop = {1: {"Hospital B": "masked"}, 2: {"Hospital C": "unmask", "Hospital D": "share"}}
    with_protocol = federated.federate(federation(), seed=1, drop=drop)
    clear = federated.federate(federation(), seed=1, secure=False, drop=drop)
    assert np.array_equal(with_protocol.weights, clear.weights)
    assert [r.survivors for r in with_protocol.rounds] == [r.survivors for r in clear.rounds]
    assert "Hospital C" in with_protocol.rounds[1].survivors  # vanished after its vector was in
    assert with_protocol.rounds[0].bytes_up > 0
    assert clear.rounds[0].bytes_up == 0


def test_one_patient_more_moves_a_contribution_by_no_more_than_the_clipping_norm():
    # Noise off by hand: the same grid, a share of nothing.
    terms = federation()
    state = rounds.begin(terms)
    for seed in range(3):  # at weights where gradients are long
        state = replace(state, weights=np.random.default_rng(seed).normal(0, 3, 62))
        model = rounds.unflatten(TABLE(), state.weights)
        data = CLINICS.hospitals[0].dataset
        whole = rounds.gradient_sum(model, data.train_x, data.train_y, 0.5)
        less = rounds.gradient_sum(model, data.train_x[1:], data.train_y[1:], 0.5)
        assert 0 < np.linalg.norm(whole - less) <= 0.5 + 1e-6


def test_a_hospitals_whole_update_is_bounded_marks_included():
    class Loud:
        def pull(self, weights, round):
            return np.full(len(weights), 100.0)

    noise = Noise("central", unit="hospital", noise_multiplier=1.0, max_grad_norm=0.25)
    terms = federation(
        Training(rounds=1, kind="update", learning_rate=5.0), noise, marks={"Hospital A": Loud()}
    )
    sent = rounds.contribute(terms, "Hospital A", rounds.begin(terms), seed=0)
    assert np.linalg.norm(rounds.grid_of(terms).value(sent)) == pytest.approx(0.25, rel=1e-3)


@pytest.mark.parametrize("kind", ["gradient", "update"])
def test_a_mark_moves_the_global_model_by_what_it_pulls_whatever_the_kind(kind):
    class Nudge:
        def pull(self, weights, round):
            return np.linspace(0, 1e-2, len(weights))

    training = Training(rounds=1, kind=kind, learning_rate=0.3)
    plain = federated.federate(federation(training, Noise()), seed=0, secure=False)
    marked = federated.federate(
        federation(training, Noise(), marks={"Hospital C": Nudge()}), seed=0, secure=False
    )
    assert np.allclose(marked.weights - plain.weights, np.linspace(0, 1e-2, 62), atol=1e-6)


def test_noise_differs_between_hospitals_and_rounds_and_follows_from_a_seed_alone():
    terms = federation()
    state = rounds.begin(terms)
    one = rounds.contribute(terms, "Hospital A", state, seed=0)
    assert np.array_equal(one, rounds.contribute(terms, "Hospital A", state, seed=0))
    others = [
        rounds.contribute(terms, "Hospital A", replace(state, round=1), seed=0),
        rounds.contribute(terms, "Hospital A", state, seed=1),
        rounds.contribute(terms, "Hospital A", state),
        rounds.contribute(terms, "Hospital A", state),
    ]
    # Equal noise in 62 wide draws by chance: below 1e-300.
    assert all(not np.array_equal(one, other) for other in others)
    assert not np.array_equal(others[2], others[3])


def test_distributed_noise_in_the_sum_is_what_the_statement_counts_on():
    terms = federation(noise=Noise("distributed", noise_multiplier=6.0, max_grad_norm=0.5, threshold=5))
    state, clear = rounds.begin(terms), federation(noise=Noise(max_grad_norm=0.5))
    exact = sum(
        rounds.gradient_sum(TABLE(), h.dataset.train_x, h.dataset.train_y, 0.5) for h in clear.hospitals
    )
    grid, off = rounds.grid_of(terms), []
    for seed in range(40):
        total = sum(rounds.contribute(terms, name, state, seed=seed) for name in CLINICS.names)
        off.append(grid.value(total) - exact)
    # 2,480 draws: the standard error of their deviation is 1.4%; fixed seeds.
    assert np.std(off) == pytest.approx(3.0, rel=0.07)


def test_local_dp_sgd_takes_noisy_steps_even_on_empty_batches():
    noise = Noise("record", noise_multiplier=2.0, max_grad_norm=0.5, sample_rate=1e-5, local_steps=3)
    terms = federation(Training(rounds=1, kind="update", learning_rate=0.1), noise)
    sent = rounds.contribute(terms, "Hospital A", rounds.begin(terms), seed=0)
    assert np.count_nonzero(sent) == 62


def test_a_sum_of_too_few_hospitals_is_never_used():
    terms = federation()
    with pytest.raises(FederationError, match="2 hospitals survived round 1; expected at least 3"):
        rounds.step(terms, rounds.begin(terms), np.zeros(62, dtype=np.int64), ("Hospital A", "Hospital B"))
    with pytest.raises(FederationError, match="round 2 would be left with 2"):
        federated.federate(terms, drop={2: dict.fromkeys(CLINICS.names[:3], "share")})


def test_statements_follow_the_fewest_survivors_that_a_round_had():
    whole = federated.federate(federation(), seed=0, secure=False)
    short = federated.federate(
        federation(), seed=0, secure=False, drop={2: {"Hospital A": "share", "Hospital B": "share"}}
    )
    assert short.privacy.epsilon > whole.privacy.epsilon
    assert "unit patient" in whole.summary()
    assert whole.numbers()["unit of privacy"] == "patient"


class Mixing(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(30, 2)
        nn.init.ones_(self.linear.weight)

    def forward(self, x):
        return self.linear(x - x.mean(0))


class Remembering(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(30, 2)
        nn.init.ones_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)
        self.register_buffer("seen", torch.zeros(30))

    def forward(self, x):
        self.seen += x.sum(0).detach()
        return self.linear(x)


def fixed(make):
    def again():
        torch.manual_seed(0)
        return make()

    return again


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"make_model": fixed(Mixing)}, "in company than alone"),
        ({"make_model": fixed(Remembering)}, "buffers change"),
        ({"make_model": partial(models.logistic_regression, 30, 3)}, "one logit for each"),
        ({"make_model": lambda: nn.Linear(30, 2)}, "other weights at every call"),
        ({"noise": replace(PRIVATE, hospitals=4)}, "meant for 4 hospitals"),
        ({"noise": replace(PRIVATE, unit="hospital")}, "needs kind='update'"),
        ({"training": replace(STEPS, kind="update")}, "needs kind='gradient'"),
        ({"marks": {"Hospital Z": None}}, "marks name"),
        ({"noise": Noise("record", noise_multiplier=1.0)}, "expected kind='update'"),
    ],
)
def test_terms_that_would_break_a_promise_are_refused_before_the_first_round(change, message):
    with pytest.raises(FederationError, match=message):
        federation(**change)


def test_secure_aggregation_refuses_a_threshold_that_lets_a_server_open_two_sums():
    with pytest.raises(FederationError, match="secure aggregation needs at least 3"):
        federated.federate(federation(noise=replace(PRIVATE, threshold=2)))


@pytest.mark.parametrize(
    "change",
    [
        {"rounds": 0},
        {"kind": "gossip"},
        {"learning_rate": float("inf")},
        {"momentum": 1.0},
        {"average_from": -0.1},
    ],
)
def test_training_refuses_values_out_of_range(change):
    with pytest.raises(FederationError, match=next(iter(change))):
        replace(STEPS, **change)


def test_an_interrupted_federation_goes_on_from_its_checkpoint_to_the_same_model(tmp_path, monkeypatch):
    whole = federated.federate(federation(), seed=0, secure=False)
    real, calls = rounds.step, []

    def stops(*arguments, **settings):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*arguments, **settings)

    monkeypatch.setattr("labkit.federated.loop.step", stops)
    again = partial(federated.federate, federation(), seed=0, secure=False, checkpoint=tmp_path / "f.pt")
    with pytest.raises(KeyboardInterrupt):
        again()
    assert np.array_equal(again().weights, whole.weights)
    assert len(calls) == 4  # the two rounds that were kept were not run again


def test_a_checkpoint_of_another_federation_or_a_damaged_one_is_refused(tmp_path):
    path = tmp_path / "f.pt"
    federated.federate(federation(), seed=0, secure=False, checkpoint=path)
    with pytest.raises(FederationError, match="other terms, records, marks or seed"):
        federated.federate(federation(), seed=1, secure=False, checkpoint=path)
    path.write_bytes(b"half")
    with pytest.raises(FederationError, match="no checkpoint of a federation"):
        federated.federate(federation(), seed=0, secure=False, checkpoint=path)


def test_sums_of_many_records_move_by_no_more_than_the_grid_counts():
    # In float32 the sum of 20,000 long gradients is off by many grid steps.
    torch.manual_seed(0)
    x, y = torch.randn(20_000, 30), torch.randint(0, 2, (20_000,))
    grid = PRIVATE.grid(62)
    whole = rounds.gradient_sum(TABLE(), x, y, 0.5)
    for out in range(0, 20_000, 4_000):
        less = rounds.gradient_sum(
            TABLE(), torch.cat([x[:out], x[out + 1 :]]), torch.cat([y[:out], y[out + 1 :]]), 0.5
        )
        assert np.linalg.norm(grid.round(whole) - grid.round(less)) <= grid.sensitivity


def test_a_promise_that_forgets_the_features_statistics_is_refused():
    clinics = federated.private_statistics(CLINICS, noise_multiplier=5.0, threshold=4, seed=0).apply(CLINICS)
    for noise in (
        PRIVATE,
        replace(PRIVATE, statistics_multiplier=50.0, statistics_full_at=4),
        replace(PRIVATE, statistics_multiplier=5.0, statistics_full_at=5),
    ):
        with pytest.raises(FederationError, match="come from private statistics"):
            federated.Federation(clinics, TABLE, STEPS, noise)
    counted = replace(PRIVATE, statistics_multiplier=5.0, statistics_full_at=4)
    assert federated.Federation(clinics, TABLE, STEPS, counted).hospitals.released == ((5.0, 4),)


def test_colluders_next_to_the_server_need_a_higher_threshold():
    noise = Noise("distributed", noise_multiplier=5.0, threshold=3, colluders=2)
    with pytest.raises(
        FederationError, match=r"2 of which may collude; secure\s+aggregation needs at least 4"
    ):
        federated.federate(federation(noise=noise))
