"""The plant and the coupling: one package a mosaik simulator."""
