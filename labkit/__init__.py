"""labkit: a lab course you can run, in differential privacy, model watermarking and membership inference.

Sub-packages load when first used, so that ``import labkit`` stays quick.
"""

from labkit import facade

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = facade.lazy(__name__)
