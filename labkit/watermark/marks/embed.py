"""One way to mark a model by any scheme: `embed`.

=============  =========  ===============================================================  ================
scheme         access     what is marked                                                   after
=============  =========  ===============================================================  ================
patch          black box  images with a keyed patch                                        arXiv 1708.06733
content        black box  images of one class with a keyed word                            ASIACCS 2018
noise          black box  images of one class under keyed noise                            ASIACCS 2018
unrelated      black box  a keyed sign, foreign to the task                                ASIACCS 2018
abstract       black box  abstract pictures, each with an answer of its own                arXiv 1802.04633
ood            black box  textures, an answer a family                                     arXiv 2108.04974
entangled      black box  patched images that share the target class's representations     arXiv 2002.12200
composite      black box  half an image of one class above half of another                 arXiv 2401.15239
class-feature  black box  a class of images under a keyed light that nature does not have  arXiv 2511.07947
margin         black box  images with wrong answers, held in a ball around each            Kim et al. 2023
bits           white box  the signs of one layer's projected weights                       arXiv 1701.04082
answers        interface  a keyed choice of queries                                        arXiv 1906.00830
rare-values    black box  rows of a table with a keyed, rare combination of values         `RECORD_SCHEMES`
rare-tokens    black box  sequences with a keyed phrase that no record has                 `RECORD_SCHEMES`
=============  =========  ===============================================================  ================
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from torch import nn

from labkit import profiles, training
from labkit.training.recipe import Recipe
from labkit.watermark.marks import answers, backdoor, class_feature, entangled, resistant, weights
from labkit.watermark.marks import training as loop
from labkit.watermark.marks.keys import Key
from labkit.watermark.marks.marked import MarkedModel
from labkit.watermark.marks.rare import RARE

if TYPE_CHECKING:
    from labkit.data import Dataset


@dataclass(frozen=True)
class Scheme:
    """A way to mark models.

    Attributes
    ----------
    name : str
    access : {"black box", "white box", "interface"}
        What verification needs: answers to queries, the weights, or the log of a client's queries.
    citation : str
    mark : callable
        ``mark(model, data, key, *, recipe, seed, **options) -> Imprint``: its docstring says which options there are.
    """

    name: str
    access: str
    citation: str
    mark: Callable[..., loop.Imprint]


_ZHANG = "Zhang et al., ASIACCS 2018"
_ALL = (
    Scheme(
        "patch",
        "black box",
        "Gu et al., arXiv 1708.06733",
        partial(backdoor.mark_with_triggers, kind="patch"),
    ),
    Scheme("content", "black box", _ZHANG, partial(backdoor.mark_with_triggers, kind="content")),
    Scheme("noise", "black box", _ZHANG, partial(backdoor.mark_with_triggers, kind="noise")),
    Scheme("unrelated", "black box", _ZHANG, partial(backdoor.mark_with_triggers, kind="unrelated")),
    Scheme(
        "abstract",
        "black box",
        "Adi et al., arXiv 1802.04633",
        partial(backdoor.mark_with_triggers, kind="abstract"),
    ),
    Scheme(
        "ood", "black box", "Lukas et al., arXiv 2108.04974", partial(backdoor.mark_with_triggers, kind="ood")
    ),
    Scheme("entangled", "black box", "Jia et al., arXiv 2002.12200", entangled.mark_entangled),
    Scheme("composite", "black box", "Lv et al., arXiv 2401.15239", resistant.mark_composite),
    Scheme("class-feature", "black box", "Xiao et al., arXiv 2511.07947", class_feature.mark_class_feature),
    Scheme("margin", "black box", "Kim et al., ICML 2023", resistant.mark_margin),
    Scheme("bits", "white box", "Uchida et al., arXiv 1701.04082", weights.mark_weights),
    Scheme("answers", "interface", "Szyller et al., arXiv 1906.00830", answers.mark_answers),
)
SCHEMES: dict[str, Scheme] = {scheme.name: scheme for scheme in _ALL}
# For records that are no images; "bits" and "answers" take any.
RECORD_SCHEMES: dict[str, Scheme] = {
    kind: Scheme(
        kind,
        "black box",
        "after Adi et al., arXiv 1802.04633",
        partial(backdoor.mark_with_triggers, kind=kind),
    )
    for kind in RARE
}
ANY = ("bits", "answers", *RECORD_SCHEMES)


def embed(
    scheme: str,
    model: nn.Module,
    dataset: Dataset,
    key: Key,
    *,
    recipe: Recipe,
    seed: int = 0,
    **options: Any,
) -> MarkedModel:
    """Train a marked copy of ``model`` and return it with what its owner needs to recognise it.

    Parameters
    ----------
    scheme : str
        A key of `SCHEMES`, or of `RECORD_SCHEMES` for tables and token sequences, which "bits" and "answers" mark too.
    model : nn.Module
        Untrained, to mark from scratch; trained, to mark by fine-tuning. Left as it is.
    dataset : Dataset
        Images; tables and tokens for some schemes. Trained on its train records; accuracy and strength are measured on its test records.
    key : Key
    recipe : Recipe
        How the copy is trained; for fine-tuning, a few epochs at a small learning rate.
    seed : int
        Fixes the order of the records and the augmentation.
    **options
        Of the scheme, see ``SCHEMES[scheme].mark``.

    Raises
    ------
    ValueError
        If the scheme is unknown, an option is out of range, or the data do not fit it.
    TypeError
        If the model is no torch module, or the scheme has no such option.
    FloatingPointError
        If the loss becomes NaN or infinite.
    """
    known = SCHEMES | RECORD_SCHEMES
    if not isinstance(model, nn.Module):
        made = f"call it first: {model.__name__}(...)" if isinstance(model, type) else "a mark is trained in"
        raise TypeError(f"the model is {model!r}; expected a torch module ({made})")
    if scheme not in known:
        raise ValueError(f"scheme {scheme!r} is unknown; expected one of {', '.join(known)}")
    if len(dataset.shape) != 3 and scheme not in ANY:
        raise ValueError(
            f"{dataset.name} has records of shape {dataset.shape}; {scheme} marks need images (C, H, W): use one of {', '.join(ANY)}"
        )
    done = known[scheme].mark(model, dataset, key, recipe=recipe, seed=seed, **options)
    return MarkedModel(
        model=done.model,
        scheme=scheme,
        key=key,
        triggers=done.triggers,
        strength=done.strength,
        accuracy=training.evaluate(done.model, dataset.test_x, dataset.test_y).accuracy,
        source=dataset.source,
        profile=profiles.current().name,
        seed=seed,
        seconds=done.seconds,
        facts=done.facts,
    )
