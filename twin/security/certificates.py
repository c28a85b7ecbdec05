"""A certificate authority for a lab: one folder with authority, certificates, keys and revocation list.

For benches and training. A utility has its own authority; the twin only needs its files.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from twin.errors import Blame, TwinError
from twin.security.tls import TlsSettings

AUTHORITY = "authority"
STATION, CONTROL_ROOM = "station", "control-room"
REVOCATIONS = "revocations.pem"
ORGANIZATION = "distribution-twin lab"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_SKEW = timedelta(minutes=5)
Key = ec.EllipticCurvePrivateKey


class LabError(TwinError):
    """A lab's certificates cannot be made or changed as asked."""

    blame = Blame.SCENARIO

    def __init__(self, name: str, fault: str) -> None:
        self.name, self.fault = name, fault
        super().__init__(f"certificates: {name}: {fault}")


@dataclass(frozen=True, slots=True)
class Revocation:
    """A certificate that is no longer believed."""

    name: str
    serial: int
    at: datetime


class Lab:
    """The certificates in a folder. ``now`` is given, so that tests can make what is expired.

    Files: ``authority.pem``, ``revocations.pem``, and for each name ``NAME.pem``; keys as ``*.key`` with mode 0600.
    """

    def __init__(self, folder: Path, now: datetime | None = None) -> None:
        self.folder = folder
        self._now = now or datetime.now(UTC)

    def path(self, name: str, suffix: str = ".pem") -> Path:
        """The file of a name."""
        return self.folder / f"{name}{suffix}"

    def settings(self, name: str, **more: object) -> TlsSettings:
        """TLS settings for the holder of a certificate of this lab."""
        files = {
            "certificate": self.path(name),
            "key": self.path(name, ".key"),
            "authority": self.path(AUTHORITY),
            "revocations": self.folder / REVOCATIONS,
        }
        return TlsSettings.model_validate(files | more)

    def create(
        self, stations: Iterable[str], control_rooms: Iterable[str] = (CONTROL_ROOM,), *, days: int = 825
    ) -> list[Path]:
        """Make the authority if there is none, a certificate for each name without one, and the revocation list.

        Returns:
            The certificates that were made.

        Raises:
            LabError: a name cannot be a file's, or is used twice.
        """
        wanted = [*((name, STATION) for name in stations), *((name, CONTROL_ROOM) for name in control_rooms)]
        _check_names([name for name, _ in wanted])
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not self.path(AUTHORITY).exists():
            self._make_authority(days)
            self._write_revocations(())
        return [self._issue(name, role, days) for name, role in wanted if not self.path(name).exists()]

    def revoke(self, names: Sequence[str]) -> None:
        """Put certificates on the revocation list; both sides must load it anew.

        Raises:
            LabError: there is no authority, or no certificate of that name.
        """
        revoked = {revocation.serial: revocation for revocation in self.revoked()}
        for name in names:
            if not self.path(name).exists() or name == AUTHORITY:
                raise LabError(name, f"there is no such certificate in {self.folder}")
            serial = _load(self.path(name)).serial_number
            revoked.setdefault(serial, Revocation(name, serial, self._now))
        self._write_revocations(revoked.values())

    def revoked(self) -> list[Revocation]:
        """What is on the revocation list.

        Raises:
            LabError: there is no authority in the folder.
        """
        path = self.folder / REVOCATIONS
        if not path.exists():
            raise LabError(str(self.folder), "there is no lab in this folder; make one first")
        names = {_load(p).serial_number: p.stem for p in self.folder.glob("*.pem") if p.name != REVOCATIONS}
        entries = x509.load_pem_x509_crl(path.read_bytes())
        return [Revocation(names.get(r.serial_number, ""), r.serial_number, r.revocation_date_utc) for r in entries]

    # inside

    def _make_authority(self, days: int) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = _subject("authority", "authority")
        builder = self._builder(name, name, key, days)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(_key_usage(authority=True), critical=True)
        self._write(AUTHORITY, builder.sign(key, hashes.SHA256()), key)

    def _issue(self, name: str, role: str, days: int) -> Path:
        authority, authority_key = self._authority()
        key = ec.generate_private_key(ec.SECP256R1())
        builder = self._builder(_subject(name, role), authority.subject, key, days)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
        both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = (
            builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(authority=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(both), critical=False)
            .add_extension(issuer, critical=False)
            .add_extension(x509.SubjectAlternativeName([_alternative(name)]), critical=False)
        )
        return self._write(name, builder.sign(authority_key, hashes.SHA256()), key)

    def _builder(self, subject: x509.Name, issuer: x509.Name, key: Key, days: int) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._now - _SKEW)
            .not_valid_after(self._now + timedelta(days=days))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )

    def _authority(self) -> tuple[x509.Certificate, Key]:
        key = serialization.load_pem_private_key(self.path(AUTHORITY, ".key").read_bytes(), password=None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return _load(self.path(AUTHORITY)), key

    def _write(self, name: str, certificate: x509.Certificate, key: Key) -> Path:
        clear = serialization.NoEncryption()
        pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, clear)
        write_private(self.path(name, ".key"), pem)
        write_private(self.path(name), certificate.public_bytes(serialization.Encoding.PEM))
        return self.path(name)

    def _write_revocations(self, revoked: Iterable[Revocation]) -> None:
        authority, key = self._authority()
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(authority.subject)
            .last_update(self._now - _SKEW)
            .next_update(authority.not_valid_after_utc)
            .add_extension(issuer, critical=False)
            .add_extension(x509.CRLNumber(int(self._now.timestamp() * 1000)), critical=False)
        )
        for revocation in revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(revocation.serial).revocation_date(revocation.at)
            builder = builder.add_revoked_certificate(entry.build())
        pem = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        write_private(self.folder / REVOCATIONS, pem)


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read, from its first octet on."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(content)


def _check_names(names: Sequence[str]) -> None:
    for name in names:
        if not _NAME.fullmatch(name) or name in (AUTHORITY, Path(REVOCATIONS).stem):
            raise LabError(name, "this name cannot be used; letters, digits, '_', '.' and '-' can")
        if names.count(name) > 1:
            raise LabError(name, "this name is used twice")


def _load(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def _subject(name: str, role: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANIZATION),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, role),
            x509.NameAttribute(NameOID.COMMON_NAME, name),
        ]
    )


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
