"""The engines against the golden twin, and the likely cause of a difference."""
