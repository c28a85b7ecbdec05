"""The controlled side of the protocols."""
