"""The controlling side of the protocols."""
