"""The network model in CIM terms: compiled arrays, loaders and topology."""

from twin.network.catalogue import UnknownNetworkError, load_network, network_names
from twin.network.pandapower_loader import LoaderOptions, UnsupportedNetworkError, load_pandapower

__all__ = [
    "LoaderOptions",
    "UnknownNetworkError",
    "UnsupportedNetworkError",
    "load_network",
    "load_pandapower",
    "network_names",
]
