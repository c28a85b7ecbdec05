"""Power flow on a factorised admittance matrix, compiled with numba: any topology, balanced.

Importing this package imports numba, which takes half a second: take it through
:func:`twin.solvers.power_flow`, which imports it where it pays.
"""

from twin.solvers.direct.power_flow import DirectPowerFlow

__all__ = ["DirectPowerFlow"]
