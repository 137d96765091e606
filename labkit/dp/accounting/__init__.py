"""Privacy accounting: events, accountants, composition, calibration, and the statement of what was spent."""
