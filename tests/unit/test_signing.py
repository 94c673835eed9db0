"""Signed snapshots and stored checksums: only a key that is trusted proves anything, and no damage goes unnoticed."""

import json
import shutil
import sqlite3
import zipfile
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from cloudaccel.api.verifying import verify_prices
from cloudaccel.catalog import snapshot
from cloudaccel.catalog.signing import SIGNATURE, key_name, signer_of
from cloudaccel.catalog.snapshot_write import write_snapshot
from cloudaccel.errors import SnapshotCorrupt
from tests.support import run
from tests.unit.test_snapshot import FREE, WHEN, offer, version

CANARY = "c2VjcmV0LWNhbmFyeQ"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("CLOUDACCEL_CACHE_DIR", str(folder))
    return folder


def pair(folder: Path, name: str = "publisher") -> tuple[Path, Path]:
    """Files of a private and a public key."""
    key = Ed25519PrivateKey.generate()
    private, public = folder / f"{name}.key", folder / f"{name}.pub"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return private, public


def publish(target: Path, key: Path | None, price: str = "55.04") -> Path:
    sign = signer_of(str(key)) if key else None
    rows = [offer(price_per_hour=price)]
    write_snapshot(target, offers=rows, history=[version()], sources=[FREE], created_at=WHEN, sign=sign)
    return target


@pytest.mark.parametrize("form", ["snap", "snap.zip"])
def test_what_was_signed_is_proved_by_the_public_key_alone(tmp_path: Path, form: str) -> None:
    private, public = pair(tmp_path)
    where = publish(tmp_path / form, private)
    assert snapshot.signature(where, None).state == "unchecked"
    assert snapshot.signature(where, public).state == "proved"
    assert snapshot.signature(where, pair(tmp_path, "other")[1]).state == "stranger"


def test_the_same_rows_and_key_give_the_same_bytes(tmp_path: Path) -> None:
    private, _ = pair(tmp_path)
    first, second = (publish(tmp_path / name, private).read_bytes() for name in ("a.zip", "b.zip"))
    assert first == second


def test_a_second_key_in_the_file_of_trusted_keys_counts(tmp_path: Path) -> None:
    """A publisher changes keys: for a while both are trusted."""
    old, new = pair(tmp_path, "old"), pair(tmp_path, "new")
    both = tmp_path / "both.pub"
    both.write_bytes(old[1].read_bytes() + new[1].read_bytes())
    assert all(snapshot.signature(publish(tmp_path / "s.zip", key), both).state == "proved" for key in (old[0], new[0]))


def test_one_changed_price_with_its_hashes_made_to_agree_is_found_out(tmp_path: Path) -> None:
    """Hashes that travel with the data agree again after any change; the signature does not."""
    private, public = pair(tmp_path)
    folder = publish(tmp_path / "snap", private)
    signature = (folder / SIGNATURE).read_bytes()
    publish(folder, None, price="0.55")
    assert not (folder / SIGNATURE).exists()
    (folder / SIGNATURE).write_bytes(signature)
    assert snapshot.verify(folder)
    assert snapshot.signature(folder, public).state == "wrong"
    answer = run("refresh", "--from", str(folder), "--verify", "--trusted-key", str(public))
    assert answer.code == 6
    assert "its signature is not of this manifest" in answer.err
    assert run("refresh", "--verify", "--catalog", str(folder), "--trusted-key", str(public)).code == 6


@pytest.mark.parametrize("text", [b"", b"rubbish", b"\xff" * 9000, b"cloudaccel-signature/1 ed25519 00 AA\n"])
def test_a_signature_that_cannot_be_read_is_wrong_and_not_missing(tmp_path: Path, text: bytes) -> None:
    folder = publish(tmp_path / "snap", None)
    (folder / SIGNATURE).write_bytes(text)
    assert snapshot.signature(folder, None).state == "wrong"
    assert run("refresh", "--from", str(folder)).code == 6


def test_a_signature_that_is_a_link_out_of_the_snapshot_is_refused(tmp_path: Path) -> None:
    folder = publish(tmp_path / "snap", None)
    (tmp_path / "outside").write_text(CANARY)
    (folder / SIGNATURE).symlink_to(tmp_path / "outside")
    with pytest.raises(SnapshotCorrupt, match="points outside"):
        snapshot.signature(folder, None)


def test_unsigned_says_unsigned_and_is_taken_only_where_no_key_is_trusted(tmp_path: Path) -> None:
    _, public = pair(tmp_path)
    where = str(publish(tmp_path / "s.zip", None))
    taken = run("refresh", "--from", where)
    assert taken.code == 0
    assert "the snapshot is unsigned" in taken.err
    assert run("refresh", "--from", where, "--json").json["signature"] == "unsigned"
    refused = run("refresh", "--from", where, "--trusted-key", str(public))
    assert refused.code == 6
    assert "unsigned. Nothing was changed" in refused.err


def test_verify_without_a_trusted_key_takes_nothing(tmp_path: Path, own_cache: Path) -> None:
    private, _ = pair(tmp_path)
    answer = run("refresh", "--from", str(publish(tmp_path / "s.zip", private)), "--verify")
    assert answer.code == 2
    assert "no key is trusted" in answer.err
    assert not own_cache.exists()


def test_the_trusted_key_of_the_settings_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    private, public = pair(tmp_path)
    monkeypatch.setenv("CLOUDACCEL_TRUSTED_KEY", str(public))
    signed, plain = publish(tmp_path / "s.zip", private), publish(tmp_path / "p.zip", None)
    done = run("refresh", "--from", str(signed), "--verify", "--json")
    assert (done.code, done.json["signature"]) == (0, "proved")
    assert run("refresh", "--from", str(plain)).code == 6
    (tmp_path / "tables").mkdir()
    assert "price tables are not signed" in run("refresh", "--from", str(tmp_path / "tables")).err


def test_the_command_line_signs_what_it_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    private, public = pair(tmp_path)
    source = str(publish(tmp_path / "s.zip", None))
    monkeypatch.setenv("SNAPSHOT_KEY", private.read_text())
    words = ("refresh", "--from", source, "--out", str(tmp_path / "o.zip"), "--sign-with", "env:SNAPSHOT_KEY")
    answer = run(*words)
    assert answer.code == 0
    assert snapshot.signature(tmp_path / "o.zip", public).state == "proved"
    assert zipfile.ZipFile(tmp_path / "o.zip").namelist()[:2] == ["manifest.json", SIGNATURE]


def test_a_key_that_cannot_sign_is_refused_and_nothing_of_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = tmp_path / "wrong.key"
    wrong.write_text(f"-----BEGIN PRIVATE KEY-----\n{CANARY}\n-----END PRIVATE KEY-----\n")
    curve = tmp_path / "curve.key"
    curve.write_bytes(
        generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    monkeypatch.delenv("NO_SUCH", raising=False)
    for reference, said in [
        (str(wrong), "no private key in PEM"), (str(curve), "it is no Ed25519 key"),
        (str(tmp_path / "none"), "cannot be read"), ("env:NO_SUCH", "is not set"),
    ]:  # fmt: skip
        answer = run("refresh", "--out", str(tmp_path / "o.zip"), "--sign-with", reference)
        assert (answer.code, said in answer.err, CANARY in answer.err) == (2, True, False), answer.err
    assert not (tmp_path / "o.zip").exists()


def test_the_short_name_of_a_key_is_that_of_its_public_bytes() -> None:
    """RFC 8032, test 1: the public key of a known private one, named by its SHA-256."""
    seed = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key()
    assert public.public_bytes_raw().hex().startswith("d75a980182b10ab7")
    assert key_name(public) == "21fe31dfa154a261"


def take_in(tmp_path: Path) -> Path:
    assert run("refresh", "--from", str(publish(tmp_path / "s.zip", None)), "-q").code == 0
    (done, _) = verify_prices()
    assert done.faults == ()
    return done.path


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("UPDATE offer SET amount = amount - 1000000000 WHERE current AND amount IS NOT NULL", "its checksum"),
        ("DELETE FROM offer WHERE current", "are missing"),
        ("UPDATE segment SET hash = replace(hash, substr(hash, 1, 1), 'x')", "not that of its catalog id"),
        ("UPDATE segment SET rows = 0, hash = ''", "not that of its catalog id"),
    ],
)
def test_a_price_changed_in_the_catalog_is_found(tmp_path: Path, change: str, said: str) -> None:
    path = take_in(tmp_path)
    with sqlite3.connect(path) as db:
        db.execute(change)
    db.close()
    answer = run("refresh", "--verify")
    assert answer.code == 6
    assert said in answer.out
    assert path.exists()  # nothing is mended, it is only said


@pytest.mark.parametrize("price", ["55.040", "55.0", "0.1234567894", "60"])
def test_a_price_written_in_another_way_is_the_same_price(tmp_path: Path, price: str) -> None:
    """He would have believed that a catalog is damaged because a seller writes 2.50 and it keeps 2.5."""
    rows = [offer(price_per_hour=price, vcpus="96.0", memory_gib="1024.50")]
    write_snapshot(tmp_path / "s.zip", offers=rows, history=[], sources=[FREE], created_at=WHEN)
    assert run("refresh", "--from", str(tmp_path / "s.zip"), "-q").code == 0
    assert run("refresh", "--verify").code == 0


@pytest.mark.parametrize("end", [100, 5000, -1])
def test_a_catalog_cut_short_or_overwritten_is_found(tmp_path: Path, end: int) -> None:
    path = take_in(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[:end] if end > 0 else whole[:4096] + b"\0" * (len(whole) - 4096))
    answer = run("refresh", "--verify", "--json")
    assert answer.code == 6
    assert answer.json["checked"][0]["faults"]


def test_a_damaged_bundled_snapshot_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cloudaccel.catalog import store

    folder = publish(tmp_path / "bundled", None)
    monkeypatch.setattr(store, "bundled_snapshot", lambda: folder)
    assert run("refresh", "--verify").code == 0
    (folder / "acme.csv").write_text("changed\n")
    answer = run("refresh", "--verify")
    assert answer.code == 6
    assert "sha256 differs" in answer.out


def test_verify_of_what_has_no_checksum_says_so(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("x\n")
    assert "carries no checksum" in run("refresh", "--verify", "--catalog", str(tmp_path / "p.csv")).err
    assert run("refresh", "--verify", "--catalog", str(tmp_path / "none.zip")).code == 6
    assert run("refresh", "oci", "--verify").code == 2
    assert run("refresh", "--out", "x.zip", "--verify").code == 2


def test_an_address_needs_https_or_a_trusted_key_and_no_offline() -> None:
    refused = run("refresh", "--from", "http://user:hunter2@mirror.example/s.zip?token=hunter2")
    assert refused.code == 2
    assert "anybody on the way" in refused.err
    assert "hunter2" not in refused.err
    assert "--offline was given" in run("refresh", "--offline", "--from", "https://mirror.example/s.zip").err


@pytest.mark.network
def test_u108_a_signed_snapshot_is_fetched_from_a_mirror(tmp_path: Path, own_cache: Path) -> None:
    """U108: believing that carried-in prices are the publisher's because their hashes agree."""
    import threading
    from functools import partial
    from http.server import ThreadingHTTPServer

    from tests.benchmarks import bulk

    private, public = pair(tmp_path)
    served = tmp_path / "served"
    served.mkdir()
    shutil.move(publish(tmp_path / "s.zip", private), served / "s.zip")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(bulk.Quiet, directory=str(served)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        base = f"http://127.0.0.1:{server.server_address[1]}"
        done = run("refresh", "--from", f"{base}/s.zip", "--verify", "--trusted-key", str(public), "--json")
        assert (done.code, done.json["signature"], done.json["source"]) == (0, "proved", f"{base}/s.zip")
        gone = run("refresh", "--from", f"{base}/none.zip", "--trusted-key", str(public))
        assert gone.code == 2
        (served / "page.zip").write_text("<html>")
        assert run("refresh", "--from", f"{base}/page.zip", "--trusted-key", str(public)).code == 6
    finally:
        server.shutdown()
        server.server_close()
    assert json.loads(run("refresh", "--verify", "--json").out)["checked"][0]["faults"] == []


@pytest.mark.network
def test_a_snapshot_that_its_address_still_has_is_not_sent_again(tmp_path: Path, own_cache: Path) -> None:
    """Every hour from cron, a file of some megabytes: and never taken for the same where anything else has changed."""
    from cloudaccel.testing.cloud import FakeCloud

    private, public = pair(tmp_path)
    body = Path(publish(tmp_path / "s.zip", private)).read_bytes()
    with FakeCloud() as cloud:
        cloud.serve_file("/s.zip", body, '"v1"')
        words = ("refresh", "--from", f"{cloud.url}/s.zip", "--trusted-key", str(public), "--json")
        first = run(*words).json
        again = run(*words).json
        assert (first["unchanged"], again["unchanged"]) == (False, True)
        assert {**again, "unchanged": False} == first
        assert [asked.headers.get("if-none-match") for asked in cloud.asked] == [None, '"v1"']
        assert "unchanged since it was taken in" in run(*words[:-1]).out
        assert run(*words[:3], "--out", str(tmp_path / "o.zip"), *words[3:]).json["unchanged"] is False

        cloud.serve_file("/s.zip", body, '"v2"')
        assert run(*words).json["unchanged"] is False
        other, another = pair(tmp_path, "other")
        assert run(*words[:3], "--trusted-key", str(another)).code == 6  # unchanged, and of nobody who is trusted now
        run("refresh", "--from", str(publish(tmp_path / "t.zip", other)))
        taken = cloud.asked.copy()
        assert run(*words).code == 0
        assert len(cloud.asked) > len(taken)
    assert "s.zip" not in (own_cache / "carried.json").read_text()
