"""FloatNetwork and IntegerNetwork: the hinge between torch and the chip."""
