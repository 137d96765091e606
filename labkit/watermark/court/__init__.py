"""The ownership court: plan, claims, commitments, trial, verdicts, affidavit."""
