"""Numba and torch kernels of the batched engine and of the fast Lava models."""
