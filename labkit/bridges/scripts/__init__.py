"""Scripts that run in environments of their own, without labkit: each reads one JSON file and writes another."""
