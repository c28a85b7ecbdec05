"""Power flow by backward/forward sweep, compiled with numba: radial and weakly meshed islands.

Importing this package imports numba, which takes half a second: take it through
:func:`twin.solvers.power_flow`, which imports it where it pays.
"""

from twin.solvers.sweep.power_flow import SweepPowerFlow

__all__ = ["SweepPowerFlow"]
