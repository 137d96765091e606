"""Shadow models: trained on halves of a pool, asked, and kept."""
