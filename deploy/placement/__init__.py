"""Hardware files, and a network's way onto the cores of a chip."""
