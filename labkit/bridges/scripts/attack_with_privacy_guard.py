"""LiRA and RMIA by Meta's PrivacyGuard on labkit's arrays. Runs in its own environment, without labkit.

The attacks need pandas, SciPy and scikit-learn only; the package's other dependencies are for language models.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from privacy_guard.analysis.mia.aggregate_analysis_input import AggregationType
from privacy_guard.attacks.lira_attack import LiraAttack
from privacy_guard.attacks.rmia_attack import RmiaAttack


def scores(attack, members):
    """Return the attack's scores in the order of the records."""
    found = attack.run_attack()
    out = np.empty(len(members))
    out[members] = found.df_train_merge["score"].to_numpy()
    out[~members] = found.df_test_merge["score"].to_numpy()
    return out


def halves(columns, members):
    """Return data frames of the members and of the others."""
    frame = pd.DataFrame({"user_id": np.arange(len(members)), **columns})
    return frame[members].copy(), frame[~members].copy()


def lira(target, shadows, masks, members):
    """Return LiRA's online scores: each record's own mean and spread, with and without it."""
    columns = {"score_orig": target}
    for side, used in (("in", masks), ("out", ~masks)):
        values = np.where(used, shadows, np.nan)
        columns[f"score_mean_{side}"] = np.nanmean(values, axis=0)
        columns[f"score_std_{side}"] = np.nanstd(values, axis=0)
    inside, outside = halves(columns, members)
    return scores(LiraAttack(inside, outside, AggregationType.NONE, online_attack=True), members)


def rmia(target, shadows, masks, population, population_shadows, members, online, alpha):
    """Return RMIA's scores from confidences."""
    columns = {"score_orig": target}
    known = {"score_orig": population}
    for k in range(len(shadows)):
        columns[f"score_ref_{k}"], columns[f"member_ref_{k}"] = shadows[k], masks[k]
        known[f"score_ref_{k}"] = population_shadows[k]
        known[f"member_ref_{k}"] = np.zeros(len(population), dtype=bool)
    inside, outside = halves(columns, members)
    attack = RmiaAttack(
        inside,
        outside,
        pd.DataFrame(known),
        AggregationType.NONE,
        num_reference_models=len(shadows) if online else len(shadows) // 2,
        alpha_coefficient=alpha,
        online=online,
    )
    return scores(attack, members)


def main(asked, found):
    request = json.loads(Path(asked).read_text(encoding="utf-8"))
    data = np.load(request["arrays"])
    members, masks = data["members"], data["masks"]
    confidences = [data[name] for name in ("confidence", "shadow_confidence")]
    population = [data[name] for name in ("population", "shadow_population")]
    results = {
        "lira-online": lira(data["logit"], data["shadow_logit"], masks, members),
        "rmia": rmia(*confidences, masks, *population, members, True, request["offline_a"]),
        "rmia-offline": rmia(*confidences, masks, *population, members, False, request["offline_a"]),
    }
    Path(found).write_text(
        json.dumps({name: value.tolist() for name, value in results.items()}), encoding="utf-8"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
