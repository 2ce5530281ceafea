"""Certificate authorities and certificates, made for one run of the tests."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from tempfile import mkdtemp

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

DAY = timedelta(days=1)


@dataclass(frozen=True, eq=False)
class Authority:
    """A certificate authority."""

    name: x509.Name
    key: ec.EllipticCurvePrivateKey
    file: Path
    """Its own certificate."""

    def server(self, name: str = "127.0.0.1", *, expired: bool = False) -> ssl.SSLContext:
        """A server of that name, or address, speaks TLS with it."""
        key = ec.generate_private_key(ec.SECP256R1())
        end = datetime.now(UTC) + (-DAY if expired else DAY)
        subject = _named(name)
        try:
            known_as: x509.GeneralName = x509.IPAddress(ip_address(name))
        except ValueError:
            known_as = x509.DNSName(name)
        certificate = (
            _certificate(subject, self.name, key, end)
            .add_extension(x509.SubjectAlternativeName([known_as]), critical=False)
            .add_extension(_id_of(self.key), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        file = self.file.with_name(f"{name.replace(':', '-')}-{certificate.serial_number}.pem")
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        file.write_bytes(private + certificate.public_bytes(Encoding.PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context


@cache
def authority(name: str = "authority of the tests") -> Authority:
    """The authority of that name, made when it is first asked for."""
    key = ec.generate_private_key(ec.SECP256R1())
    itself = _named(name)
    certificate = (
        _certificate(itself, itself, key, datetime.now(UTC) + DAY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_uses, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = Path(mkdtemp(prefix="gate-ca-")) / "ca.pem"
    file.write_bytes(certificate.public_bytes(Encoding.PEM))
    return Authority(itself, key, file)


_uses = x509.KeyUsage(
    digital_signature=True,
    key_cert_sign=True,
    crl_sign=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    encipher_only=False,
    decipher_only=False,
)


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _id_of(key: ec.EllipticCurvePrivateKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, end: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(end - 30 * DAY)
        .not_valid_after(end)
    )
