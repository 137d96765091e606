"""Bridges: every tool that the course names, run beside labkit on the same question, with how far apart they are.

Tools that live beside labkit come with the extra ``bridges``; those that cannot get an environment of their own.
"""

from typing import TYPE_CHECKING

from labkit import facade

if TYPE_CHECKING:
    from labkit.bridges.agreement import Agreement as Agreement
    from labkit.bridges.agreement import Line as Line
    from labkit.bridges.art_models import art_classifier as art_classifier
    from labkit.bridges.environment import BridgeError as BridgeError
    from labkit.bridges.environment import Environment as Environment
    from labkit.bridges.evasion import adversarial as adversarial
    from labkit.bridges.registry import TOOLS as TOOLS
    from labkit.bridges.registry import compare as compare

__getattr__, __dir__, __all__ = facade.lazy(__name__)
