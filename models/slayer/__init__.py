"""lava-dl's SLAYER networks, trained here or elsewhere."""
