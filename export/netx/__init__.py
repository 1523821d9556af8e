"""lava-dl's netx HDF5 format, read and written."""
