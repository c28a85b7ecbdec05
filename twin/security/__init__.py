"""Protected connections: TLS for every protocol as IEC 62351-3 asks for it, and certificates for a lab.

:func:`server_context` and :func:`client_context` give contexts for ``asyncio``, pymodbus or any other library that
takes one; where a library cannot, :class:`TlsRelay` stands in front of it. Not for key management of a real utility.
"""

from twin.security.certificates import Lab, LabError, Revocation
from twin.security.relay import TlsRelay
from twin.security.tls import (
    TlsRefusedError,
    TlsSettings,
    TlsSetupError,
    check_peer,
    client_context,
    refusal,
    server_context,
)

__all__ = [
    "Lab",
    "LabError",
    "Revocation",
    "TlsRefusedError",
    "TlsRelay",
    "TlsSettings",
    "TlsSetupError",
    "check_peer",
    "client_context",
    "refusal",
    "server_context",
]
