"""Who wrote a snapshot: an Ed25519 signature (RFC 8032) of its manifest, which holds the hash of every other file.

Hashes that travel with the data prove that nothing was damaged. Only a key that the reader got by another way proves
who wrote it, so there is no default key, and a signature that nobody can check is called that.
"""

import base64
import binascii
import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cloudaccel.errors import ConfigError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

SIGNATURE = "manifest.sig"
MAX_SIGNATURE = 4096
_FORM = re.compile(r"cloudaccel-signature/1 ed25519 ([0-9a-f]{16}) ([A-Za-z0-9+/]{86}==)\n?\Z")
_PEM = re.compile(rb"-----BEGIN PUBLIC KEY-----.*?-----END PUBLIC KEY-----", re.DOTALL)

Signer = Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True)
class Signature:
    """What a signature is worth. `key` is the short name of the key it claims to be of; "" when unsigned.

    `state`: ``proved``, ``unsigned``, ``unchecked`` (no trusted key is given), ``stranger`` (of a key that is not
    trusted), ``wrong`` (not of this manifest, or unreadable).
    """

    state: str
    key: str = ""

    def words(self) -> str:
        """As it stands in a line for people."""
        return {
            "proved": f"signed by {self.key}, which is trusted",
            "unsigned": "unsigned",
            "unchecked": f"signed by {self.key}, not checked: no trusted key is given",
            "stranger": f"signed by {self.key}, which is not trusted",
            "wrong": "its signature is not of this manifest",
        }[self.state]


def signer_of(reference: str) -> Signer:
    """What signs a manifest with the private key (PEM) in a file, or in an environment variable: ``env:NAME``.

    Raises
    ------
    ConfigError
        If there is no such key, or it is not Ed25519. Nothing of a key is ever in a message.
    """
    private = _private_key(reference)
    name = key_name(private.public_key())

    def sign(manifest: bytes) -> bytes:
        return f"cloudaccel-signature/1 ed25519 {name} {base64.b64encode(private.sign(manifest)).decode()}\n".encode()

    return sign


def check(manifest: bytes, signature: bytes | None, trusted: Path | None) -> Signature:
    """What `signature` is worth for `manifest`, when the public keys in the file `trusted` (PEM) are believed.

    Raises
    ------
    ConfigError
        If `trusted` cannot be read or holds no Ed25519 public key.
    """
    keys = None if trusted is None else _public_keys(trusted)
    if signature is None:
        return Signature("unsigned")
    found = _FORM.match(signature.decode("ascii", "replace"))
    if found is None:
        return Signature("wrong")
    name = found[1]
    if keys is None:
        return Signature("unchecked", name)
    if name not in keys:
        return Signature("stranger", name)
    from cryptography.exceptions import InvalidSignature

    try:
        keys[name].verify(base64.b64decode(found[2], validate=True), manifest)
    except (InvalidSignature, binascii.Error):
        return Signature("wrong", name)
    return Signature("proved", name)


def key_name(key: "Ed25519PublicKey") -> str:
    """The short name of a public key: the first 16 hex digits of the SHA-256 of its 32 bytes."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:16]


def _private_key(reference: str) -> "Ed25519PrivateKey":
    variable = reference.removeprefix("env:") if reference.startswith("env:") else ""
    where = f"--sign-with {reference}" if variable else f"--sign-with {Path(reference)}"
    if variable and not os.environ.get(variable):
        raise ConfigError(f"{where}: the environment variable {variable} is not set. Put the key (PEM) into it.")
    pem = os.environ[variable].encode() if variable else _read(where, Path(reference))
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    except ImportError as error:
        raise _missing() from error
    try:
        key = load_pem_private_key(pem, None)
    except TypeError as error:
        raise ConfigError(f"{where}: the key is protected by a password. Give one without.") from error
    except Exception as error:  # the library has many kinds; none of their texts may hold a piece of the key
        raise ConfigError(f"{where}: no private key in PEM ({type(error).__name__}). {_MAKE}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"{where}: it is no Ed25519 key. {_MAKE}")
    return key


def _public_keys(path: Path) -> dict[str, "Ed25519PublicKey"]:
    where = f"trusted key {path}"
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        from cryptography.hazmat.primitives.serialization import load_pem_public_key
    except ImportError as error:
        raise _missing() from error
    found: dict[str, Ed25519PublicKey] = {}
    for pem in _PEM.findall(_read(where, path)):
        try:
            key = load_pem_public_key(pem)
        except Exception as error:
            raise ConfigError(f"{where}: a public key in it cannot be read ({type(error).__name__}).") from error
        if isinstance(key, Ed25519PublicKey):
            found[key_name(key)] = key
    if not found:
        raise ConfigError(f"{where}: there is no Ed25519 public key (PEM) in it. Ask the publisher for theirs.")
    return found


_MAKE = "Make one: openssl genpkey -algorithm ed25519 -out snapshot.key"
_MAX_PEM = 64 * 1024


def _read(where: str, path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_MAX_PEM)
    except OSError as error:
        raise ConfigError(f"{where}: it cannot be read ({error.strerror}). Check the path.") from error


def _missing() -> ConfigError:
    message = "signatures need the package cryptography. Install it: pip install 'cloudaccel[refresh]'."
    return ConfigError(message)
