"""Files on disk that hold real records: one reader a format, each with its checksums."""
