"""Small data sets and claims that several audit tests share."""

from __future__ import annotations

import pytest
import torch

from labkit import audit
from labkit.data import Dataset
from labkit.dp.accounting.statement import PrivacyStatement


@pytest.fixture(scope="session")
def clouds() -> Dataset:
    """1,600 records of 30 features in 4 overlapping clouds."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(2000) % 4
    x = torch.randn(2000, 30, generator=generator) + 2 * torch.eye(4, 30)[y]
    return Dataset("clouds", "four clouds", False, x[:1600], y[:1600], x[1600:], y[1600:], tuple("abcd"))


@pytest.fixture(scope="session")
def claim() -> PrivacyStatement:
    return audit.claim_of(audit.Settings())
