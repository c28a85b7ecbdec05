"""Telecontrol protocols without input or output: bytes in, events out. No sockets, no clocks, no threads."""
