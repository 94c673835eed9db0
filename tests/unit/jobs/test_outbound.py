"""Messages to addresses that users gave: where they may go, and what an answer means."""

import http.server
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from cloudaccel.jobs.outbound import NotDelivered, Resolve, Undeliverable, check_url, is_public, post

PRIVATE = [
    "127.0.0.1", "127.8.9.1", "10.0.0.1", "172.16.4.4", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",  # noqa: S104
    "224.0.0.1", "255.255.255.255", "240.0.0.1", "192.0.2.1", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1",
    "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::",
    "2001:db8::1", "fd00:ec2::254",
]  # fmt: skip


def found(*addresses: str) -> Resolve:
    """A resolver that always says the same."""

    def names(_host: str, _port: int) -> list[str]:
        return list(addresses)

    return names


@pytest.mark.parametrize("address", PRIVATE)
def test_no_address_of_this_machine_or_a_private_network_is_public(address: str) -> None:
    assert not is_public(address)
    with pytest.raises(Undeliverable, match="private network"):
        post("https://hooks.example.org/x", b"{}", {}, names=found(address))


@pytest.mark.parametrize(
    "address", ["93.184.215.14", "1.1.1.1", "2606:4700:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]
)
def test_public_addresses_are(address: str) -> None:
    assert is_public(address)


def test_one_private_address_among_public_ones_is_enough_to_refuse() -> None:
    with pytest.raises(Undeliverable, match="private network"):
        post("https://hooks.example.org/x", b"{}", {}, names=found("1.1.1.1", "169.254.169.254"))


def test_a_name_that_means_something_else_a_moment_later_leads_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    connected: list[Any] = []

    def names(host: str, _port: int) -> list[str]:
        asked.append(host)
        return ["1.1.1.1"] if len(asked) == 1 else ["127.0.0.1"]

    def connect(address: Any, _timeout: Any) -> Any:
        connected.append(address)
        raise OSError("unreachable")

    monkeypatch.setattr("cloudaccel.jobs.outbound.socket.create_connection", connect)
    with pytest.raises(NotDelivered):
        post("https://rebind.example.org/x", b"{}", {}, names=names)
    assert (asked, connected) == (["rebind.example.org"], [("1.1.1.1", 443)])


@pytest.mark.parametrize(
    "url",
    ["http://example.org/x", "ftp://example.org", "file:///etc/passwd", "https://", "https:///x", "https://u:p@example.org/",
     "https://example.org:99999/", "https://example.org/a b", "https://example.org/\r\nX: y", "example.org", ""],
)  # fmt: skip
def test_addresses_that_cannot_be_are_refused_before_anything_is_looked_up(url: str) -> None:
    with pytest.raises(Undeliverable):
        check_url(url, private=False)


class _Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        status = int(self.path.rpartition("/")[2] or 200)
        if status == 999:  # a byte now and then, for longer than anybody waits
            for _ in range(2000):
                try:
                    self.wfile.write(b"H")
                    self.wfile.flush()
                except OSError:
                    return
                time.sleep(0.05)
            return
        self.send_response(status)
        self.send_header("Location", "http://169.254.169.254/latest/meta-data/")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


@pytest.fixture(scope="module")
def receiver() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Receiver)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.network
@pytest.mark.parametrize(("status", "outcome"), [
    (200, None), (204, None), (302, Undeliverable), (307, Undeliverable), (400, Undeliverable), (404, Undeliverable),
    (410, Undeliverable), (408, NotDelivered), (429, NotDelivered), (500, NotDelivered), (503, NotDelivered),
])  # fmt: skip
def test_what_an_answer_means(receiver: str, status: int, outcome: type[Exception] | None) -> None:
    if outcome is None:
        post(f"{receiver}/{status}", b"{}", {}, private=True)
        return
    with pytest.raises(outcome):
        post(f"{receiver}/{status}", b"{}", {}, private=True)


@pytest.mark.network
def test_a_receiver_that_drips_is_cut_off(receiver: str) -> None:
    start = time.monotonic()
    with pytest.raises(NotDelivered):
        post(f"{receiver}/999", b"{}", {}, private=True, total_s=0.5)
    assert time.monotonic() - start < 30


@pytest.mark.network
def test_nobody_there_may_be_there_later() -> None:
    with pytest.raises(NotDelivered, match="did not answer"):
        post("http://127.0.0.1:9/x", b"{}", {}, private=True)
