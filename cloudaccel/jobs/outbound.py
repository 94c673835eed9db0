"""Sends a message to an address that a user gave, and to no other: not to this machine, nor to its network.

The name is looked up once, every address that it has is checked, and the connection goes to one of those: a name that
means something else a moment later leads nowhere. Redirects are not followed. https alone, unless private is allowed.
"""

import http.client
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from urllib.parse import urlsplit

from cloudaccel.errors import CloudAccelError

_TOTAL_S = 20.0
_CONNECT_S = 10.0
_TRY_AGAIN = frozenset({408, 425, 429})
_NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052, 2010: holds an IPv4 address in its last 32 bits
Resolve = Callable[[str, int], Sequence[str]]


class Undeliverable(CloudAccelError):
    """The message can never arrive there: the address is refused, or says so itself."""

    code = "undeliverable"
    exit_code = 8


class NotDelivered(CloudAccelError):
    """The message has not arrived; it may at another time."""

    code = "not_delivered"
    exit_code = 8


def resolve(host: str, port: int) -> list[str]:
    """Every address of a name. Raises OSError."""
    return list(dict.fromkeys(str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))


def check_url(url: str, *, private: bool) -> tuple[str, str, int]:
    """Scheme, host and port of an address that may be posted to, as far as its text says.

    Raises
    ------
    Undeliverable
        If it is none.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise Undeliverable(f"the address cannot be read: {error}.") from error
    if parts.scheme not in (("https", "http") if private else ("https",)) or not host:
        raise Undeliverable("the address must begin with https:// and name a host.")
    if parts.username is not None or parts.password is not None:
        raise Undeliverable("the address has a user or a password in it. Use an address with a token in its path.")
    if any(ord(character) <= 32 or ord(character) == 127 for character in url):
        raise Undeliverable("the address has a blank or a control character in it.")
    return parts.scheme, host, port or (443 if parts.scheme == "https" else 80)


def is_public(address: str) -> bool:
    """Whether an IP address is of the public internet, with what IPv6 may wrap around an IPv4 address taken off."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        inner = [found.ipv4_mapped, found.sixtofour, *(found.teredo or ())]
        if found in _NAT64:
            inner.append(ipaddress.IPv4Address(int(found) & 0xFFFFFFFF))
        if any(one is not None and not is_public(str(one)) for one in inner):
            return False
        if found.ipv4_mapped is not None:
            return True
    return found.is_global and not found.is_multicast


def post(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    *,
    private: bool = False,
    names: Resolve = resolve,
    context: ssl.SSLContext | None = None,
    total_s: float = _TOTAL_S,
) -> None:
    """Post `body`; returns when the receiver has said 2xx.

    `private` also allows plain http and addresses of private networks, this machine among them.

    Raises
    ------
    Undeliverable
        If the address is refused, or the receiver says that it will never take this.
    NotDelivered
        If it may be taken at another time.
    """
    scheme, host, port = check_url(url, private=private)
    try:
        addresses = names(host, port)
    except (OSError, UnicodeError) as error:
        raise NotDelivered(f"the name {host} is not known: {error}.") from error
    if not private and not all(map(is_public, addresses)):
        raise Undeliverable(
            f"{host} is an address of a private network. Start serve with --alert-private if that is meant."
        )
    if not addresses:
        raise NotDelivered(f"the name {host} has no address.")
    connection = _Pinned(scheme, host, port, addresses[0], context)
    try:
        status = _ask(connection, url, body, headers, total_s)
    except (OSError, http.client.HTTPException) as error:
        raise NotDelivered(f"{host} did not answer: {error or type(error).__name__}.") from error
    finally:
        connection.close()
    if 200 <= status < 300:
        return
    if 300 <= status < 400:
        raise Undeliverable(f"{host} answers with a redirect ({status}), which is not followed. Give the last address.")
    if status < 500 and status not in _TRY_AGAIN:
        raise Undeliverable(f"{host} refuses the message ({status}).")
    raise NotDelivered(f"{host} cannot take the message now ({status}).")


def _ask(connection: "_Pinned", url: str, body: bytes, headers: Mapping[str, str], total_s: float) -> int:
    parts = urlsplit(url)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    connection.connect()
    # A receiver that sends a byte now and then would never run into a limit on silence.
    end = threading.Timer(total_s, connection.cut)
    end.start()
    try:
        connection.request("POST", path, body, dict(headers))
        return connection.getresponse().status
    finally:
        end.cancel()


class _Pinned(http.client.HTTPConnection):
    """A connection to an address that was checked, by the name that it was found under."""

    def __init__(self, scheme: str, host: str, port: int, address: str, context: ssl.SSLContext | None) -> None:
        self.default_port = 443 if scheme == "https" else 80
        super().__init__(host, port, timeout=_CONNECT_S)
        self._address = address
        self._tls = (context or ssl.create_default_context()) if scheme == "https" else None

    def connect(self) -> None:
        self.sock = socket.create_connection((self._address, self.port), self.timeout)
        if self._tls is not None:
            self.sock = self._tls.wrap_socket(self.sock, server_hostname=self.host)

    def cut(self) -> None:
        """End it from another thread."""
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
