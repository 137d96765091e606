"""Notebooks: read from their one source, built, executed without a browser, and packed into the wheel."""
