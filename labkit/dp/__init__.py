"""Differential privacy: mechanisms, exact sampling, accounting, private training, features and tuning.

Names load from their module when first used, so ``import labkit.dp`` pulls in neither torch nor scipy.
"""

from typing import TYPE_CHECKING

from labkit import facade

if TYPE_CHECKING:
    from labkit.dp.accounting.accountants import gdp_epsilon as gdp_epsilon
    from labkit.dp.accounting.calibration import calibrate_noise as calibrate_noise
    from labkit.dp.accounting.ceiling import roc_ceiling as roc_ceiling
    from labkit.dp.accounting.composition import advanced_composition as advanced_composition
    from labkit.dp.accounting.composition import basic_composition as basic_composition
    from labkit.dp.accounting.composition import composed_delta as composed_delta
    from labkit.dp.accounting.composition import group_privacy as group_privacy
    from labkit.dp.accounting.composition import optimal_composition as optimal_composition
    from labkit.dp.accounting.events import LaplaceEvent as LaplaceEvent
    from labkit.dp.accounting.events import PureDP as PureDP
    from labkit.dp.accounting.events import SampledGaussian as SampledGaussian
    from labkit.dp.accounting.loader_check import check_loader as check_loader
    from labkit.dp.accounting.statement import PrivacyStatement as PrivacyStatement
    from labkit.dp.accounting.statement import privacy_statement as privacy_statement
    from labkit.dp.accounting.tuning_cost import TuningCost as TuningCost
    from labkit.dp.mechanisms.additive import Gaussian as Gaussian
    from labkit.dp.mechanisms.additive import Laplace as Laplace
    from labkit.dp.mechanisms.additive import gaussian_delta as gaussian_delta
    from labkit.dp.mechanisms.additive import gaussian_sigma as gaussian_sigma
    from labkit.dp.mechanisms.categorical import Exponential as Exponential
    from labkit.dp.mechanisms.categorical import RandomisedResponse as RandomisedResponse
    from labkit.dp.mechanisms.discrete import DiscreteGaussian as DiscreteGaussian
    from labkit.dp.mechanisms.discrete import DiscreteLaplace as DiscreteLaplace
    from labkit.dp.mechanisms.discrete import Grid as Grid
    from labkit.dp.mechanisms.sensitivity import clip_values as clip_values
    from labkit.dp.mechanisms.sensitivity import clip_vectors as clip_vectors
    from labkit.dp.mechanisms.sensitivity import count_sensitivity as count_sensitivity
    from labkit.dp.mechanisms.sensitivity import histogram_sensitivity as histogram_sensitivity
    from labkit.dp.mechanisms.sensitivity import mean_sensitivity as mean_sensitivity
    from labkit.dp.mechanisms.sensitivity import sum_sensitivity as sum_sensitivity
    from labkit.dp.training.model_check import without_batchnorm as without_batchnorm
    from labkit.dp.training.result import PrivateResult as PrivateResult
    from labkit.dp.training.train_private import train_private as train_private
    from labkit.dp.utility.choice import decide as decide
    from labkit.dp.utility.cnn_pipeline import RECIPES as RECIPES
    from labkit.dp.utility.cnn_pipeline import cnn_ceiling as cnn_ceiling
    from labkit.dp.utility.cnn_pipeline import cnn_pipeline as cnn_pipeline
    from labkit.dp.utility.cnn_pipeline import recipe as recipe
    from labkit.dp.utility.decision import Decision as Decision
    from labkit.dp.utility.decision import NoDecision as NoDecision
    from labkit.dp.utility.features import FeatureSet as FeatureSet
    from labkit.dp.utility.features import FeatureStatement as FeatureStatement
    from labkit.dp.utility.features import features as features
    from labkit.dp.utility.linear_pipeline import LINEAR_SETTINGS as LINEAR_SETTINGS
    from labkit.dp.utility.linear_pipeline import LINEAR_TRIALS as LINEAR_TRIALS
    from labkit.dp.utility.linear_pipeline import linear_ceiling as linear_ceiling
    from labkit.dp.utility.linear_pipeline import linear_learning_rate as linear_learning_rate
    from labkit.dp.utility.linear_pipeline import linear_pipeline as linear_pipeline
    from labkit.dp.utility.linear_pipeline import linear_prior as linear_prior
    from labkit.dp.utility.search import Range as Range
    from labkit.dp.utility.search import Search as Search
    from labkit.dp.utility.search import search as search
    from labkit.dp.utility.tradeoff import Tradeoff as Tradeoff
    from labkit.dp.utility.tradeoff import tradeoff as tradeoff
    from labkit.dp.utility.tradeoff_figures import compare as compare

__getattr__, __dir__, __all__ = facade.lazy(__name__)
