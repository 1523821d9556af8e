"""Training: presets, the trainer, and what it needs."""
