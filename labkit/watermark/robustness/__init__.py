"""Marks against attacks: the matrix, its cells, doses, and what follows."""
