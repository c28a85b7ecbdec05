"""What stands inside the substations: switchgear, protection, auto-reclose, indicators and the station's own logic."""
