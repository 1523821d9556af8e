"""Lava's simulator: the process graph, its runs and streams, and the refusal of Loihi 2."""
