"""Benches on real devices."""
