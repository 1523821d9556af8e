"""Every cutoff policy over ε."""
