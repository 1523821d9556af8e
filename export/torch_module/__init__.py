"""Torch modules as they are: their forward recorded, their neurons described, and the module itself as the witness."""
