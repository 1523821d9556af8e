"""Plain ReLU networks of torch, to be converted."""
