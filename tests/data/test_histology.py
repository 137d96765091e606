"""The stand-in for PathMNIST: the same from the same seed, shaped like the real thing, told apart by texture."""

import numpy as np
import pytest
import torch
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import RidgeClassifier

from labkit import data
from labkit.data.formats.medmnist import PATH, PATH_CLASSES
from labkit.data.standins import tissues
from labkit.federated import load_hospitals

SIZES = tissues.SIZES  # read before the fixture of this folder makes them small


def test_a_seed_decides_everything():
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    x, y = data.tissues(60, 5)
    assert torch.equal(torch.random.get_rng_state(), before)  # the caller's random state is its own
    again_x, again_y = data.tissues(60, 5)
    assert torch.equal(x, again_x)
    assert torch.equal(y, again_y)
    assert not torch.equal(data.tissues(60, 6)[0], x)
    assert x.shape == (60, 3, 28, 28)
    assert (x.dtype, y.dtype) == (torch.float32, torch.int64)
    assert float(x.min()) >= 0
    assert float(x.max()) <= 1
    assert len(x.flatten(1).unique(dim=0)) == 60


def test_one_is_enough_and_none_is_refused():
    assert len(data.tissues(1)[1]) == 1
    with pytest.raises(data.DataError, match="asked for 0 patches"):
        data.tissues(0)


def test_load_says_that_it_is_no_real_tissue():
    with pytest.warns(data.StandInWarning, match="PathMNIST was not found"):
        made = data.load("pathmnist")
    assert not made.real
    assert (
        made.source
        == "stand-in for PathMNIST (tissue drawn from nuclei, fibres and fat, made by code, seed 0)"
    )
    assert made.classes == PATH.classes == PATH_CLASSES
    assert (len(made.train_y), len(made.test_y), made.shape) == (40, 10, (3, 28, 28))
    assert SIZES == (20_000, 5_000)


def test_fat_is_pale_and_lymphocytes_are_dark():
    x, y = data.tissues(900, 0)
    light = torch.stack([x[y == kind].mean() for kind in range(9)])
    names = dict(zip(PATH_CLASSES, light.tolist(), strict=True))
    assert names["background"] > names["adipose"] > names["mucus"] > names["smooth muscle"]
    assert names["lymphocytes"] < names["debris"]
    red, blue = x[y == PATH_CLASSES.index("smooth muscle")].mean((0, 2, 3))[[0, 2]].tolist()
    assert red > blue  # eosin is pink


def _textures(x):
    """Return statistics that do not depend on where things are: colours, and energies of edges at three scales."""
    found = [x.mean((2, 3)), x.std((2, 3))]
    for scale in (1, 2, 4):
        small = torch.nn.functional.avg_pool2d(x, scale)
        along, over = small.diff(dim=3), small.diff(dim=2)
        found += [
            along.abs().mean((2, 3)),
            over.abs().mean((2, 3)),
            (along.abs() - 0.1).clamp(min=0).mean((2, 3)),
        ]
    return torch.cat(found, 1).numpy()


def test_texture_tells_tissue_apart_and_pixels_alone_do_not():
    x, y = data.tissues(3_000, 0)
    train, test = slice(0, 2_400), slice(2_400, 3_000)
    pixels = RidgeClassifier(alpha=300.0).fit(x[train].flatten(1).numpy(), y[train])
    linear = pixels.score(x[test].flatten(1).numpy(), y[test])
    trees = ExtraTreesClassifier(200, random_state=0, n_jobs=1).fit(_textures(x[train]), y[train])
    texture = trees.score(_textures(x[test]), y[test])
    # Seeded, so repeatable; chance is 11%.
    assert 0.3 < linear < 0.65
    assert texture > linear + 0.15
    assert texture < 0.97


@pytest.mark.filterwarnings("ignore::labkit.data.StandInWarning")
def test_hospitals_stain_and_scan_differently(monkeypatch):
    monkeypatch.setattr(tissues, "SIZES", (600, 150))
    sites = load_hospitals("pathmnist", count=3, by="site", seed=0)
    same = load_hospitals("pathmnist", count=3, by="size", alpha=50.0, seed=0)

    def spread(held):
        colours = np.stack([each.dataset.train_x.mean((0, 2, 3)).numpy() for each in held])
        return colours.std(0).max()

    assert spread(sites) > 3 * spread(same)
    assert "stain 12%" in sites.source
    assert sites.source.startswith("stand-in for PathMNIST")
