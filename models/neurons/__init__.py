"""Neuron models in torch, and their surrogate gradients."""
