"""The adapter of the control room to mosaik."""
