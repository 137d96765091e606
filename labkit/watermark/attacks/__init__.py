"""What thieves and vandals do: extraction, removal, weight attacks, reverse engineering of triggers."""
