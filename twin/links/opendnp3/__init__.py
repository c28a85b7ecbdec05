"""The opendnp3 stack (yadnp3) as the master of a DNP3 outstation, in a supervised process of its own.

For links in real time with ``stack: opendnp3``; in simulated time the master is always ``twin.links.dnp3``.
"""

from twin.links.opendnp3.client import Opendnp3Client, StackMissingError, dnp3_client

__all__ = ["Opendnp3Client", "StackMissingError", "dnp3_client"]
