"""A module's forward, run and recorded: what each tensor in it holds, told by where it comes from."""
