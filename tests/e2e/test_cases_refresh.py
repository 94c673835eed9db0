"""What a refresh meets in companies and closed networks; each test is named after the case in the tracker."""

import json
import os
import shutil
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from cloudaccel_oci.prices import BASE_URL as OCI
from tests.benchmarks import bulk
from tests.benchmarks.measure import environment, peak_mib
from tests.support import PATIENCE_S, run

pytestmark = pytest.mark.network
SAMPLE = Path(__file__).parents[1] / "golden/prices/oci_gpu_2023.json"


@pytest.fixture
def own_cache(tmp_path: Path, built_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own with the bundled catalog in it."""
    assert run("quote", "H100", "--limit", "1").code == 0
    folder = tmp_path / "cache"
    shutil.copytree(built_cache, folder)
    monkeypatch.setenv("CLOUDACCEL_CACHE_DIR", str(folder))
    return folder


def certificate(folder: Path) -> Path:
    """A certificate for 127.0.0.1 that only its own file vouches for, with its key in the same file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a company's own authority")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / "company.pem"
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


class Server(ThreadingHTTPServer):
    """Says nothing of a handshake that is refused: that is what is tested."""

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing."""


@pytest.fixture
def company(tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Oracle's list behind the company's own certificate, whose file this is."""
    folder = tmp_path / "served"
    (folder / "oci").mkdir(parents=True)
    shutil.copy(SAMPLE, folder / "oci" / "index.html")
    path = certificate(tmp_path)
    server = Server(("127.0.0.1", 0), partial(bulk.Quiet, directory=str(folder)))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    monkeypatch.setenv("CLOUDACCEL_MIRRORS", f"{OCI}=https://127.0.0.1:{server.server_port}/oci/")
    for variable in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(variable, raising=False)
    yield path
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "CLOUDACCEL_CA_FILE"])
def test_u110_a_companys_certificate_is_trusted_when_a_variable_names_it(
    company: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """He would have believed that the seller is down, since every other tool reads this variable."""
    monkeypatch.setenv(variable, str(company))
    answer = run("refresh", "oci")
    assert answer.code == 0, answer.err


def test_u110_without_it_the_list_is_refused_and_quotes_go_on(company: Path) -> None:
    """He would have believed that he has to switch verification off."""
    answer = run("refresh", "oci")
    assert answer.code == 8
    assert "SSL_CERT_FILE" in answer.err
    assert not {"verify", "insecure", "disable"} & set(answer.err.lower().split())
    assert run("quote", "H100:8", "--provider", "oci").code == 0


def test_u108_a_closed_network_answers_with_the_age_of_its_prices(own_cache: Path, tmp_path: Path) -> None:
    """He would have believed that prices of September are today's, or that nothing works without a network."""
    pack = tmp_path / "snap.zip"
    assert run("refresh", "--out", str(pack)).code == 0
    fresh = {**os.environ, "CLOUDACCEL_CACHE_DIR": str(tmp_path / "inside")}
    # No address answers there: a call by any client would fail, not only one of ours.
    closed = (
        "import socket, sys\n"
        "def refused(*_, **__): raise SystemExit('a socket was used')\n"
        "socket.socket.connect = socket.getaddrinfo = refused\n"
        "from cloudaccel.cli import main\nsys.exit(main(sys.argv[1:]))"
    )

    def inside(*words: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-c", closed, *words]
        return subprocess.run(command, env=fresh, capture_output=True, text=True, timeout=PATIENCE_S, check=False)

    taken = inside("refresh", "--from", str(pack))
    assert taken.returncode == 0, taken.stderr
    answer = inside("--offline", "quote", "H100", "--json")
    assert answer.returncode == 0, answer.stderr
    body = json.loads(answer.stdout)
    assert body["catalog"]["as_of_until"]
    assert all(offer["price"]["age_days"] is not None for offer in body["offers"] if not offer["apart"])
    assert " d old)" in inside("--offline", "quote", "H100").stdout
    damaged = tmp_path / "damaged.zip"
    damaged.write_bytes(pack.read_bytes()[:-2000])
    assert inside("refresh", "--from", str(damaged)).returncode == 6
    assert inside("--offline", "quote", "H100").returncode == 0


@pytest.mark.slow
def test_u114_memory_does_not_grow_with_the_price_file(tmp_path: Path) -> None:
    """He would have believed that 2.5 GB of memory are needed to learn a few hundred prices."""
    folder = tmp_path / "served"
    folder.mkdir()
    bulk.build(folder, 96 << 20)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(bulk.Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        read = [sys.executable, "-c", bulk.READ, f"http://127.0.0.1:{server.server_port}", str(bulk.kept())]
        assert peak_mib(read, environment(tmp_path)) <= 80  # MiB; less than the file has
    finally:
        server.shutdown()
        server.server_close()
