"""Wrong ways to train privately: each looks like DP-SGD, reports its ε, and gives less privacy than that.

All share one loop (`labkit.audit.planted.loop.run`), and differ from it in one small piece. `ALL` names them and says
what is wrong; `number` hands them out without their names, for the lab.

`labkit bench audit` counts how many of them each audit flags. `labkit.audit.audit_gradients` bounds ε, and sees what
moves ε far; `labkit.audit.conformance` looks at each step. Neither sees ``exempt_record``, which spares all records but
those that no auditor would bring.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from labkit.audit.planted import clipping, noise, sampling
from labkit.audit.planted.loop import correct as correct
from labkit.audit.task import Settings, Task, TrainingFunction, Transcript


@dataclass(frozen=True)
class Planted:
    """One training function of the collection.

    Attributes
    ----------
    name : str
    train : callable
        ``train(task, settings, seed) -> Transcript``.
    wrong : str
        What is wrong with it, or nothing for the correct one.
    seen : str
        How it comes about.
    """

    name: str
    train: TrainingFunction = field(repr=False)
    wrong: str
    seen: str

    @property
    def is_correct(self) -> bool:
        return not self.wrong


def _planted(train: TrainingFunction, wrong: str, seen: str) -> Planted:
    return Planted(train.__name__, train, wrong, seen)


ALL = {
    planted.name: planted
    for planted in (
        _planted(
            noise.layer_without_noise,
            "the bias gets no noise at all",
            "a second parameter group, or a layer added later, that the private optimizer was not told of",
        ),
        _planted(
            clipping.clip_after_sum,
            "the mean gradient is clipped, so one record alone can be as long as the whole batch may be",
            "clip_grad_norm_ called on a batch gradient",
        ),
        _planted(correct, "", "arXiv 1607.00133, algorithm 1"),
        _planted(
            sampling.shuffled,
            "shuffled batches are accounted as Poisson batches",
            "most training loops (arXiv 2403.17673; audited in 2411.10614)",
        ),
        _planted(
            noise.noise_over_batch,
            "the noise is divided by the batch size twice",
            "a published defence, found by auditing it (arXiv 2202.12219)",
        ),
        _planted(noise.noise_reused, "every step adds the same noise", "a seed set inside the step"),
        _planted(
            clipping.bias_not_in_norm,
            "the bias does not count in the norm that is clipped",
            "a norm taken over model.weight only; Opacus before 1.5.4 got the bias norm of 3-D inputs wrong in ghost "
            "clipping",
        ),
        _planted(
            sampling.wrong_sample_rate,
            "records join four times as often as accounted for",
            "gradient accumulation that the accountant does not see",
        ),
        _planted(
            noise.sqrt_of_sigma,
            "the noise has the square root of its standard deviation",
            "a function that wants a variance",
        ),
        _planted(noise.noise_at_seven_tenths, "the noise is 0.7 of what it should be", "a forgotten factor"),
        _planted(noise.noise_at_four_fifths, "the noise is 0.8 of what it should be", "a forgotten factor"),
        _planted(
            noise.decaying_noise, "the noise falls to a half", "a schedule that the accountant does not know"
        ),
        _planted(
            noise.last_step_without_noise,
            "the last step has no noise",
            "a last, partial batch that takes another path through the loop",
        ),
        _planted(
            noise.some_coordinates_without_noise,
            "every fiftieth coordinate has no noise",
            "sparse gradients, of which only the stored values get noise",
        ),
        _planted(noise.one_weight_without_noise, "one weight has no noise", "an index that is off by one"),
        _planted(
            noise.laplace_noise,
            "the noise is Laplace's, the accounting Gauss's",
            "the other mechanism's code",
        ),
        _planted(noise.noise_cut_off, "the noise is cut off at 2.5 σ", "a clamp against overflow"),
        _planted(
            noise.noise_for_two_steps,
            "each draw of noise serves two steps",
            "noise drawn once per accumulation",
        ),
        _planted(
            noise.one_draw_per_class,
            "all weights of a class share one draw",
            "a shape that broadcasting fills up",
        ),
        _planted(
            noise.same_noise_in_every_run,
            "every run adds the same noise, whatever its seed",
            "manual_seed(42) in the optimizer",
        ),
        _planted(clipping.no_clipping, "nothing is clipped", "an option that was not passed on"),
        _planted(
            clipping.each_layer_by_itself,
            "each layer may be as long as the bound allows all of them together",
            "a clipping call inside the loop over parameters",
        ),
        _planted(
            clipping.clamp_each_coordinate,
            "coordinates are clamped, so a record is as long as the bound times the root of their number",
            "clip_grad_value_ in place of clip_grad_norm_",
        ),
        _planted(
            clipping.clip_pairs,
            "pairs of records are clipped together, so one record moves up to two bounds",
            "microbatches (TensorFlow Privacy's num_microbatches) accounted for as single records",
        ),
        _planted(
            clipping.buffer_not_zeroed,
            "every second step repeats the pushes of the step before",
            "zero_grad only where gradients are not accumulated",
        ),
        _planted(sampling.fixed_size, "batches have one size", "a sampler of random subsets"),
        _planted(
            sampling.with_replacement, "a record can be in a batch twice", "RandomSampler(replacement=True)"
        ),
        _planted(sampling.batch_for_two_steps, "each batch serves two steps", "an inner loop over a batch"),
        _planted(
            sampling.empty_batches_skipped,
            "a step is left out when nobody is in the batch",
            "`if len(batch) == 0: continue`",
        ),
        _planted(
            sampling.divided_by_realised_size,
            "sum and noise are divided by the size that happened",
            "loss.mean() over a Poisson batch",
        ),
        _planted(
            clipping.exempt_record,
            "records of one kind are not clipped",
            "a shortcut for a case that tests never meet, or malice",
        ),
    )
}


def number(index: int) -> TrainingFunction:
    """Return training function ``index`` (from 1) under no other name than its number; `reveal` tells it.

    Raises
    ------
    ValueError
        If there is no such number.
    """
    chosen = reveal(index).train

    def train(task: Task, settings: Settings, seed: int) -> Transcript:
        return chosen(task, settings, seed)

    train.__name__ = train.__qualname__ = f"training_function_{index}"
    return train


def reveal(index: int) -> Planted:
    """Return what training function ``index`` is."""
    if not 1 <= index <= len(ALL):
        raise ValueError(f"there is no training function {index}; expected 1 to {len(ALL)}")
    return list(ALL.values())[index - 1]
