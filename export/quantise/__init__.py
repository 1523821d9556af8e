"""Float networks to the chip's integers: folding, rounding, headroom."""
