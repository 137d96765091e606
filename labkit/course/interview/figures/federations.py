"""Numbers about federations and governance: thresholds, noise shares, seeds, groups, redaction, and a year of releases."""

from __future__ import annotations

import math

from labkit import dp, stats
from labkit.course.interview.figures import privacy
from labkit.course.interview.numbers import given, number
from labkit.federated.noise import Noise
from labkit.federated.secagg.encoding import Encoding
from labkit.federated.secagg.terms import least_threshold

HOSPITALS = given("hospitals", 5, "{:d}", "hospitals of the example")
QUORUM = given("quorum", 3, "{:d}", "hospitals that must survive a round")
MANY = given("phones", 100, "{:d}", "clients of a larger group")
BITS = given("seed_bits", 32, "{:d}", "bits of a weak seed")
RATE = given("seeds_a_second", 10_000_000, "{:,d}", "seeds that an attacker tries in a second")
PATIENTS = given("patients_each", 500, "{:d}", "patients of one hospital")
PATIENT_EPS = given("eps_patient", 0.1, "{:g}", "ε of one patient")
NOTES = given("notes_checked", 300, "{:d}", "notes in which no name was missed")
ARCHIVE = given("notes_all", 10_000, "{:,d}", "notes of the archive")
GRID = given("grid_bits", 32, "{:d}", "bits of the integers that are summed")
MONTHS = given("months", 12, "{:d}", "releases in a year")

_noise = Noise("distributed", noise_multiplier=1.0, hospitals=HOSPITALS, threshold=QUORUM)


@number("{:d}")
def pairs() -> int:
    """pair masks among the hospitals, n (n - 1) / 2"""
    return math.comb(HOSPITALS, 2)


@number("{:,d}")
def pairs_many() -> int:
    """pair masks in the larger group"""
    return math.comb(MANY, 2)


@number("{:d}")
def threshold_honest() -> int:
    """least threshold when nobody works with the server: secagg's least_threshold"""
    return least_threshold(HOSPITALS)


@number("{:d}")
def threshold_colluding() -> int:
    """least threshold when one hospital works with the server: least_threshold"""
    return least_threshold(HOSPITALS, 1)


@number("{:.2f}")
def share_each() -> float:
    """noise that each hospital adds, as a share of the full noise, sized for the quorum: Noise.share_multiplier"""
    return _noise.share_multiplier


@number("{:.2f}")
def noise_all_there() -> float:
    """noise in the sum when all hospitals stay, over the full noise: Noise.against"""
    return _noise.against("the server", survivors=HOSPITALS)


@number("{:.2f}")
def noise_to_hospital() -> float:
    """noise left for a hospital that subtracts its own share, at the quorum: Noise.against"""
    return _noise.against("another hospital")


@number("{:.2f}")
def noise_local() -> float:
    """noise in the sum when each adds the full noise, over the full noise: Noise.against"""
    local = Noise("local", noise_multiplier=1.0, hospitals=HOSPITALS, threshold=QUORUM)
    return local.against("everyone who gets the model", survivors=HOSPITALS)


@number("{:.0f}")
def seed_minutes() -> float:
    """minutes to try all weak seeds at that rate"""
    return 2**BITS / RATE / 60


@number("{:g}")
def eps_hospital() -> float:
    """ε of a whole hospital by group privacy from that of a patient: dp.group_privacy"""
    return dp.group_privacy(PATIENT_EPS, PATIENTS)[0]


@number("{:d}")
def boost() -> int:
    """factor by which one hospital scales its update to survive a plain average of all: their number"""
    return HOSPITALS


@number("{:.1e}")
def grid_step() -> float:
    """finest step of that grid on which a sum of values up to 1 from all hospitals cannot wrap: Encoding.finest"""
    return 1 / Encoding.finest(1.0, HOSPITALS, GRID).scale


@number("{:.1%}")
def missed_high() -> float:
    """upper 95% end of a miss rate of none in the notes checked: stats.clopper_pearson"""
    return stats.clopper_pearson(0, NOTES).high


@number("{:,.0f}")
def missed_in_archive() -> float:
    """notes of the archive that may still hold a name at that rate"""
    return missed_high() * ARCHIVE


@number("{:g}")
def year_added() -> float:
    """ε of monthly releases of ε = 1 each, added up: dp.basic_composition"""
    return dp.basic_composition(1, MONTHS)


@number("{:.1f}")
def year_gaussian() -> float:
    """ε of the same if each is one Gaussian release of its ε, accounted together by PLD: dp.privacy_statement"""
    sigma = dp.gaussian_sigma(1, privacy.DELTA)
    event = dp.SampledGaussian(sigma, MONTHS, 1.0, "full")
    return dp.privacy_statement(event, delta=privacy.DELTA).epsilon
