"""Thresholds from held-out samples, with or without a guarantee, and the optimal cutoff timestep."""
