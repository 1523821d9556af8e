"""The batched engine: Lava's integers, many samples at once, without Lava."""
