"""TLS contexts by the policy of IEC 62351-3: both sides show a certificate, TLS 1.2 at least, revocations checked.

Only suites with forward secrecy and authenticated encryption; no renegotiation, no compression, no resumption
by ticket, so that every connection proves itself anew.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from twin.errors import Blame, TwinError

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL:!eNULL"
ORGANIZATIONAL_UNIT = "organizationalUnitName"
_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


class TlsSetupError(TwinError):
    """Certificates or keys cannot be used as they are set."""

    blame = Blame.SCENARIO

    def __init__(self, path: Path, fault: str) -> None:
        self.path, self.fault = path, fault
        super().__init__(f"TLS: {path}: {fault}")


class TlsRefusedError(TwinError):
    """A peer's certificate is valid, but not that of somebody who may connect."""

    blame = Blame.PEER

    def __init__(self, name: str, role: str, fault: str) -> None:
        self.name, self.role, self.fault = name, role, fault
        super().__init__(f"the certificate of {name or 'nobody'} is refused: {fault}")


class TlsSettings(BaseModel):
    """How one side of a protected connection shows itself, and whom it lets in."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    certificate: Path = Field(description="own certificate (PEM), with the chain to the authority if there is one")
    key: Path = Field(description="own private key (PEM); readable by its owner alone")
    authority: Path = Field(description="certificates of the authorities that are believed (PEM)")
    revocations: Path | None = Field(default=None, description="revocation lists of the authorities (PEM)")
    least_version: Literal["1.2", "1.3"] = Field(default="1.2", description="oldest TLS version that is spoken")
    names: tuple[str, ...] = Field(default=(), description="common names of peers that may connect; none: any")
    roles: tuple[str, ...] = Field(
        default=(), description="organisational units of peers that may connect (control-room, station); none: any"
    )
    handshake_limit_s: float = Field(default=10.0, gt=0, description="how long a handshake may take")


def server_context(settings: TlsSettings) -> ssl.SSLContext:
    """A context for the listening side; it asks every client for a certificate.

    Raises:
        TlsSetupError: a file is missing, open to others, or does not fit.
    """
    context = _context(settings, ssl.PROTOCOL_TLS_SERVER)
    context.num_tickets = 0
    return context


def client_context(settings: TlsSettings) -> ssl.SSLContext:
    """A context for the dialling side. Stations are known by their certificate, not by a host name.

    Raises:
        TlsSetupError: a file is missing, open to others, or does not fit.
    """
    context = _context(settings, ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def _context(settings: TlsSettings, side: int) -> ssl.SSLContext:
    context = ssl.SSLContext(side)
    context.minimum_version = _VERSIONS[settings.least_version]
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    _load_own(context, settings)
    _load_trusted(context, settings.authority)
    if settings.revocations is not None:
        _load_trusted(context, settings.revocations)
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    return context


def _load_own(context: ssl.SSLContext, settings: TlsSettings) -> None:
    _must_exist(settings.certificate)
    _must_exist(settings.key)
    if settings.key.stat().st_mode & 0o077:
        raise TlsSetupError(settings.key, "others may read this private key; set its mode to 0600")
    try:
        context.load_cert_chain(settings.certificate, settings.key)
    except (ssl.SSLError, OSError) as error:
        raise TlsSetupError(settings.certificate, f"certificate and key cannot be used: {_reason(error)}") from error


def _load_trusted(context: ssl.SSLContext, path: Path) -> None:
    _must_exist(path)
    try:
        context.load_verify_locations(path)
    except (ssl.SSLError, OSError) as error:
        raise TlsSetupError(path, f"it holds no certificate and no revocation list: {_reason(error)}") from error


def _must_exist(path: Path) -> None:
    if not path.is_file():
        raise TlsSetupError(path, "the file does not exist")


def check_peer(peer_certificate: Any, settings: TlsSettings) -> str:
    """The common name of a verified peer (``SSLObject.getpeercert()``).

    Raises:
        TlsRefusedError: its name or its role is not among those that may connect.
    """
    subject = {key: value for row in (peer_certificate or {}).get("subject", ()) for key, value in row}
    name, role = str(subject.get("commonName", "")), str(subject.get(ORGANIZATIONAL_UNIT, ""))
    if settings.names and name not in settings.names:
        raise TlsRefusedError(name, role, "its name is not among those that may connect")
    if settings.roles and role not in settings.roles:
        raise TlsRefusedError(name, role, f"its role {role or '(none)'} is not among those that may connect")
    return name


_VERIFY_ERRORS = {
    "unable to get local issuer certificate": "its certificate is signed by an authority that is not believed here",
    "self-signed certificate": "its certificate is signed by itself",
    "self-signed certificate in certificate chain": "its certificate is signed by an authority not believed here",
    "certificate signature failure": "its certificate is signed by an authority that is not believed here",
    "certificate has expired": "its certificate has expired",
    "certificate is not yet valid": "its certificate is not valid yet",
    "certificate revoked": "its certificate is revoked",
    "unable to get certificate CRL": "there is no revocation list of the authority that signed its certificate",
    "CRL has expired": "the revocation list has expired",
}
_REASONS = {
    "WRONG_VERSION_NUMBER": "it does not speak TLS, or only an older version",
    "HTTP_REQUEST": "it does not speak TLS",
    "UNSUPPORTED_PROTOCOL": "it only speaks an older version of TLS",
    "NO_SHARED_CIPHER": "it has no cipher that is allowed here",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "it showed no certificate",
    "TLSV1_ALERT_UNKNOWN_CA": "it does not believe the authority that signed the certificate shown to it",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "it asks for a certificate and was shown none",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "it was shown a certificate that has expired",
    "SSLV3_ALERT_CERTIFICATE_REVOKED": "it was shown a certificate that is revoked",
    "SSLV3_ALERT_BAD_CERTIFICATE": "it refuses the certificate shown to it",
    "TLSV1_ALERT_PROTOCOL_VERSION": "it does not speak this version of TLS",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "it refuses the handshake",
}


def refusal(error: BaseException) -> str:
    """Why a handshake failed, in words that complete "TLS with ... was refused: "."""
    if isinstance(error, TlsRefusedError):
        return str(error)
    if isinstance(error, ssl.SSLCertVerificationError):
        return _VERIFY_ERRORS.get(error.verify_message, f"its certificate is not valid: {error.verify_message}")
    if isinstance(error, ssl.SSLError):
        return _REASONS.get(error.reason or "", _reason(error))
    if isinstance(error, TimeoutError | ConnectionAbortedError):
        return "it did not finish the handshake in time"
    return "it hung up during the handshake"


def _reason(error: BaseException) -> str:
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
    return str(reason).lower().replace("_", " ")
