"""Bayesian optimisation by GPyOpt. Runs in its own environment; each trial is a question to labkit on standard output."""

import json
import sys
from pathlib import Path

import GPyOpt
import numpy as np


def ask(point):
    """Return labkit's cost of one point (its coordinates in [0, 1])."""
    print(json.dumps({"ask": [float(value) for value in point]}), flush=True)
    return json.loads(sys.stdin.readline())["cost"]


def main(asked, found):
    request = json.loads(Path(asked).read_text(encoding="utf-8"))
    domain = [{"name": f"x{i}", "type": "continuous", "domain": (0, 1)} for i in range(request["dimensions"])]
    for seed in request["seeds"]:
        np.random.seed(seed)
        print(json.dumps({"ask": {"seed": seed}}), flush=True)
        sys.stdin.readline()
        study = GPyOpt.methods.BayesianOptimization(
            lambda rows: np.array([[ask(row)] for row in np.atleast_2d(rows)]),
            domain=domain,
            initial_design_numdata=request["first"],
            acquisition_type="EI",
            exact_feval=False,
        )
        study.run_optimization(max_iter=request["trials"] - request["first"], eps=-1)
    Path(found).write_text(json.dumps({"done": True}), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
