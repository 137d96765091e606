"""What marking does to privacy, and what private training does to marks."""
