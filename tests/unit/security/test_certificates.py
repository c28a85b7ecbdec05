"""The lab's certificates, read back by the cryptography library and by OpenSSL's own context."""

from __future__ import annotations

import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.x509.oid import NameOID

from twin.cli import main
from twin.security import Lab, LabError, TlsSettings, TlsSetupError, client_context, server_context
from twin.security.commands import certificates


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    lab = Lab(tmp_path / "lab")
    lab.create(["RTU_1", "RTU_2"])
    return lab


def load(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_lab__signs_each_certificate_by_its_authority(lab: Lab) -> None:
    authority = load(lab.path("authority"))
    for name, role in (("RTU_1", "station"), ("RTU_2", "station"), ("control-room", "control-room")):
        certificate = load(lab.path(name))
        certificate.verify_directly_issued_by(authority)
        subject = {a.oid: a.value for a in certificate.subject}
        assert (subject[NameOID.COMMON_NAME], subject[NameOID.ORGANIZATIONAL_UNIT_NAME]) == (name, role)


def test_lab__files_are_readable_by_their_owner_alone(lab: Lab) -> None:
    files = list(lab.folder.iterdir())
    assert len(files) == 2 * 4 + 1
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


def test_lab__keeps_what_is_there(lab: Lab) -> None:
    before = lab.path("RTU_1").read_bytes()
    assert lab.create(["RTU_1", "RTU_3"]) == [lab.path("RTU_3")]
    assert lab.path("RTU_1").read_bytes() == before


def test_lab__revocations_add_up(lab: Lab) -> None:
    lab.revoke(["RTU_1"])
    lab.revoke(["RTU_2", "RTU_1"])
    assert sorted(revocation.name for revocation in lab.revoked()) == ["RTU_1", "RTU_2"]
    serials = {revocation.serial for revocation in lab.revoked()}
    assert serials == {load(lab.path(name)).serial_number for name in ("RTU_1", "RTU_2")}


@pytest.mark.parametrize("name", ["../x", "", "authority", "a b", "x" * 64])
def test_lab__refuses_names_that_are_no_files(lab: Lab, name: str) -> None:
    with pytest.raises(LabError, match="this name cannot be used"):
        lab.create([name])


def test_lab__refuses_to_revoke_what_it_does_not_have(lab: Lab, tmp_path: Path) -> None:
    with pytest.raises(LabError, match="there is no such certificate"):
        lab.revoke(["RTU_9"])
    with pytest.raises(LabError, match="there is no lab in this folder"):
        Lab(tmp_path / "other").revoked()


def test_contexts__ask_for_certificates_and_modern_versions(lab: Lab) -> None:
    for context in (server_context(lab.settings("RTU_1")), client_context(lab.settings("RTU_1"))):
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2
        assert context.verify_flags & ssl.VERIFY_CRL_CHECK_LEAF
        assert {c["kea"] for c in context.get_ciphers()} <= {"kx-ecdhe", "kx-any"}
    strict = server_context(lab.settings("RTU_1", least_version="1.3"))
    assert strict.minimum_version is ssl.TLSVersion.TLSv1_3


def test_contexts__refuse_an_open_key_and_files_that_do_not_fit(lab: Lab) -> None:
    settings = lab.settings("RTU_1")
    with pytest.raises(TlsSetupError, match=r"RTU_9\.pem: the file does not exist"):
        server_context(lab.settings("RTU_9"))
    with pytest.raises(TlsSetupError, match="certificate and key cannot be used: key values mismatch"):
        server_context(settings.model_copy(update={"key": lab.path("RTU_2", ".key")}))
    with pytest.raises(TlsSetupError, match="holds no certificate and no revocation list"):
        server_context(settings.model_copy(update={"authority": lab.path("RTU_2", ".key")}))
    settings.key.chmod(0o640)
    with pytest.raises(TlsSetupError, match="others may read this private key"):
        server_context(settings)


def test_settings__refuse_unknown_versions() -> None:
    with pytest.raises(ValueError, match="least_version"):
        TlsSettings.model_validate({"certificate": "a", "key": "b", "authority": "c", "least_version": "1.1"})


def test_command__makes_and_revokes(tmp_path: Path) -> None:
    folder = tmp_path / "lab"
    runner = CliRunner()
    made = runner.invoke(certificates, ["--out", str(folder), "--stations", "RTU_1, RTU_2"])
    assert made.exit_code == 0
    assert "3 certificates made" in made.output
    assert (folder / "RTU_2.key").exists()
    revoked = runner.invoke(certificates, ["--out", str(folder), "--revoke", "RTU_2"])
    assert "1 revoked" in revoked.output
    assert [r.name for r in Lab(folder).revoked()] == ["RTU_2"]


def test_command__complains_in_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["certificates", "--out", str(tmp_path), "--revoke", "RTU_2"])
    assert ended.value.code == 4
    assert "there is no lab in this folder" in capsys.readouterr().err


def test_lab__certificates_end_when_told(tmp_path: Path) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    lab = Lab(tmp_path, now)
    lab.create(["RTU_1"], days=30)
    assert load(lab.path("RTU_1")).not_valid_after_utc == now + timedelta(days=30)
