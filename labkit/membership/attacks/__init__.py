"""Attacks: each turns answers into one score a record, larger for likelier members."""
