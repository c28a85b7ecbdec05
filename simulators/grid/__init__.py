"""The grid: power flow, faults and who is supplied."""
