"""Breast cancer: real, scaled by ranges that no patient decides, split the same way each time."""

import numpy as np

from labkit import data


def test_split_is_stratified_and_repeats():
    cancer = data.load("breast_cancer")
    assert (len(cancer.train_y), len(cancer.test_y), cancer.shape) == (455, 114, (30,))
    assert cancer.real
    assert cancer.classes == ("malignant", "benign")
    shares = [float(y.float().mean()) for y in (cancer.train_y, cancer.test_y)]
    assert abs(shares[0] - shares[1]) < 0.01
    assert data.load("breast_cancer").digest == cancer.digest


def test_scale_uses_public_ranges_alone():
    cancer, table, ranges = data.load("breast_cancer"), data.breast_cancer_table(), data.public_ranges()
    assert list(ranges) == list(table.columns[:-1])
    assert set(table["diagnosis"]) == {"malignant", "benign"}
    highs = np.array([high for _, high in ranges.values()])
    both = np.concatenate([cancer.train_x.numpy(), cancer.test_x.numpy()])
    expected = np.clip(table.iloc[:, :-1].to_numpy() / highs, 0, 1)
    np.testing.assert_allclose(np.sort(both, 0), np.sort(expected, 0), atol=1e-6)
    assert both.max() < 1  # the ranges are wide: no patient sits on their edge
