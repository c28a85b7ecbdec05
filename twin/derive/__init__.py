"""From a network alone to a telecontrolled one: stations, points, addresses, zones and device settings."""
