"""The control room of the twin: networks, points, protocols, solvers and applications."""
