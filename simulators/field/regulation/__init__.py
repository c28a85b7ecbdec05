"""Devices that act on the voltage: tap changers, capacitor banks, inverters."""
