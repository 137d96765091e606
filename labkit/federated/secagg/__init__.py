"""Secure aggregation: a server learns the sum of the hospitals' vectors and nothing else of them.

The protocol of Bonawitz et al. 2017 ("Practical Secure Aggregation for Privacy-Preserving Machine Learning", CCS),
with the version for a server that cheats. `secure_sum` runs a whole round in one process; `Client` and `Server` are the
two sides, for messages that travel over a network.

What it does not do: the sum itself may still tell something about one hospital (add noise), and a hospital can put any
vector within the bound into the sum.
"""

from typing import TYPE_CHECKING

from labkit import facade

if TYPE_CHECKING:
    from labkit.federated.secagg.client import Client as Client
    from labkit.federated.secagg.encoding import Encoding as Encoding
    from labkit.federated.secagg.encoding import EncodingError as EncodingError
    from labkit.federated.secagg.errors import SecAggError as SecAggError
    from labkit.federated.secagg.keys import Identity as Identity
    from labkit.federated.secagg.pausing import pause as pause
    from labkit.federated.secagg.pausing import resume as resume
    from labkit.federated.secagg.server import Server as Server
    from labkit.federated.secagg.session import SecureSum as SecureSum
    from labkit.federated.secagg.session import fresh_round_id as fresh_round_id
    from labkit.federated.secagg.session import secure_sum as secure_sum
    from labkit.federated.secagg.session import secure_sum_integers as secure_sum_integers
    from labkit.federated.secagg.terms import least_threshold as least_threshold

__getattr__, __dir__, __all__ = facade.lazy(__name__)
