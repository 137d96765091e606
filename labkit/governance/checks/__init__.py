"""The checks of a review, one file each: see `labkit.governance.checks.registry`."""
