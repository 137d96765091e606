"""The one error of secure aggregation: a party stops, says why, and gives nothing more away."""


class SecAggError(RuntimeError):
    """A party of the protocol stops; the message names what was seen, what was expected, and the fix."""
