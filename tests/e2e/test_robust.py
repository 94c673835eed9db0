"""Bad files, bad disks, bad moments: one clear message, the right exit code, and nothing of the user's is lost."""

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from cloudaccel.api.quoting import age_days, quote
from cloudaccel.catalog import store
from cloudaccel.catalog.schema import SCHEMA_VERSION
from cloudaccel.catalog.session import open_session
from tests.support import HEADER, PATIENCE_S, own_env, run, standing_still

GOOD = "aws,us-east-1,,p5.48xlarge,H100-SXM,8,80,192,on-demand,55.04,USD,2026-07-20,list"
root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root")


def at_cache(cache: Path) -> dict[str, str]:
    return {"CLOUDACCEL_CACHE_DIR": str(cache)}


def start(*words: str, cache: Path, **more: str) -> "subprocess.Popen[str]":
    environment = {**os.environ, **at_cache(cache), **more}
    return subprocess.Popen(
        [sys.executable, "-m", "cloudaccel", *words], env=environment,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def finish(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    out, err = process.communicate(timeout=PATIENCE_S)
    assert "Traceback" not in err, err
    return process.returncode, out, err


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """An empty cache folder."""
    return tmp_path / "cache"


@pytest.fixture
def built(cache: Path, built_cache: Path) -> Path:
    """The bundled catalog in the cache folder: a copy of the one that is built for all tests."""
    assert run("quote", "H100:8", "--limit", "1").code == 0
    (path,) = built_cache.glob("bundled-*.sqlite")
    cache.mkdir()
    return Path(shutil.copy(path, cache))


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory, built_cache: Path) -> Path:
    """The bundled prices as a folder to refresh from; nobody changes it."""
    folder = tmp_path_factory.mktemp("snapshot") / "snap"
    command = [sys.executable, "-m", "cloudaccel", "refresh", "--out", str(folder)]
    subprocess.run(command, env=own_env(built_cache), capture_output=True, check=True, timeout=PATIENCE_S)
    return folder


# -- files that people hand in -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (HEADER.encode() + b"\n", "has no rows"),
        (b"\xff\xfe" + HEADER.encode("utf-16-le"), "not UTF-8"),
        (HEADER.encode() + b"\n" + b"x" * 10_000_000 + b"\n", "line 2"),
        (HEADER.encode() + b"\naws,us-east-1\n", "2 values for 13 columns"),
        (HEADER.encode() + b"\n" + GOOD.replace("55.04", "-3").encode(), "not an amount"),
        (HEADER.encode() + b"\n" + GOOD.replace("55.04", "NaN").encode(), "not an amount"),
        (HEADER.encode() + b"\n" + GOOD.replace("2026-07-20", "last July").encode(), "not a date"),
        (HEADER.encode() + b"\n" + GOOD.replace(",8,80", ",eight,80").encode(), "count"),
        (HEADER.replace("hourly", "price").encode() + b"\n" + GOOD.encode(), "unknown column 'price'"),
    ],
)
def test_a_price_file_that_cannot_be_read(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "prices.csv"
    path.write_bytes(content)
    answer = run("--catalog", str(path), "quote", "H100:8")
    assert answer.code == 2, answer.err
    assert message in answer.err
    assert len(answer.err) < 1000
    assert path.read_bytes() == content


@pytest.mark.parametrize("content", [b"\xef\xbb\xbf%s\n%s\n", b"%s\r\n%s\r\n", b"%s\n%s", b"%s\n\n%s\n\n"])
def test_bom_crlf_and_blank_lines_are_fine(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "prices.csv"
    path.write_bytes(content % (HEADER.encode(), GOOD.encode()))
    assert quote("H100:8", catalog=path).total == 1


def test_a_file_that_is_no_catalog(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite"
    path.write_bytes(b"not a database at all" * 100)
    answer = run("--catalog", str(path), "quote", "H100:8")
    assert answer.code == 6
    assert "not a catalog of this version, or is damaged" in answer.err


def test_a_damaged_snapshot_changes_nothing(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDACCEL_CACHE_DIR", str(cache))
    folder = tmp_path / "snap"
    assert run("refresh", "--out", str(folder)).code == 0
    victim = folder / "lambda.csv"
    victim = victim if victim.exists() else next(folder.glob("*.csv"))
    victim.write_text(victim.read_text(encoding="utf-8")[:-40], encoding="utf-8")
    before = sorted(cache.iterdir())
    answer = run("refresh", "--from", str(folder))
    assert answer.code == 6
    assert victim.name in answer.err
    assert sorted(cache.iterdir()) == before


# -- the cache -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["truncate", "garbage", "zeroes", "end", "schema"])
def test_a_damaged_cache_heals_itself(cache: Path, built: Path, damage: str) -> None:
    path = built
    data = path.read_bytes()
    if damage == "truncate":
        path.write_bytes(data[: len(data) // 2])
    elif damage == "garbage":
        path.write_bytes(os.urandom(5000))
    elif damage == "zeroes":
        path.write_bytes(data[:4096] + bytes(len(data) - 4096))
    elif damage == "end":  # found only when the index is read
        path.write_bytes(data[: len(data) // 3] + bytes(len(data) - len(data) // 3))
    else:
        with contextlib.closing(sqlite3.connect(path)) as db, db:
            db.execute("UPDATE meta SET value = '0' WHERE key = 'schema'")
    code, out, err = finish(start("quote", "H100:8", "--json", cache=cache))
    assert code == 0, err
    assert '"offers"' in out
    assert finish(start("quote", "H100:8", "--json", cache=cache))[0] == 0


def test_a_damaged_refreshed_catalog_is_kept_aside(snapshot: Path, cache: Path) -> None:
    assert finish(start("refresh", "--from", str(snapshot), cache=cache))[0] == 0
    path = cache / "catalog.sqlite"
    path.write_bytes(b"broken")
    code, _, err = finish(start("quote", "H100:8", cache=cache))
    assert code == 0
    assert "was damaged and is kept as" in err
    assert path.with_suffix(".damaged").read_bytes() == b"broken"


@pytest.mark.skipif(sys.platform == "win32", reason="nothing freezes a process there")
def test_a_good_catalog_that_came_while_a_damaged_one_was_looked_at_stays(snapshot: Path, cache: Path) -> None:
    """New prices were put aside as the damaged ones, and who asked next was answered with those of the installation."""
    assert finish(start("refresh", "--from", str(snapshot), cache=cache))[0] == 0
    path = cache / "catalog.sqlite"
    good = Path(shutil.copy(path, cache / "good"))
    path.write_bytes(b"broken")
    at = "cloudaccel.catalog.store._set_aside"
    with standing_still("quote", "H100:8", "--json", at=at, env=at_cache(cache)) as process:
        os.replace(good, path)
        process.send_signal(signal.SIGCONT)
        code, out, err = finish(process)
    assert (code, '"offers": [{' in out, "damaged" in err) == (0, True, False)
    assert not path.with_suffix(".damaged").exists()
    opened = store.open_file(path)
    assert opened is not None
    opened.close()


@pytest.mark.skipif(sys.platform == "win32", reason="nothing freezes a process there")
def test_a_damaged_catalog_that_two_see_at_once_is_said_by_both(snapshot: Path, cache: Path) -> None:
    """One of them told its user to mend the mode of a file that was not there any more."""
    assert finish(start("refresh", "--from", str(snapshot), cache=cache))[0] == 0
    (cache / "catalog.sqlite").write_bytes(b"broken")
    for at in ("open_file", "_set_aside"):
        (cache / "catalog.sqlite").write_bytes(b"broken")
        with standing_still("quote", "H100:8", at=f"cloudaccel.catalog.store.{at}", env=at_cache(cache)) as process:
            first = finish(start("quote", "H100:8", cache=cache))
            process.send_signal(signal.SIGCONT)
            second = finish(process)
        for code, _, err in (first, second):
            assert (code, "was damaged and is kept as" in err, "may not be read" in err) == (0, True, False), err


@pytest.mark.usefixtures("built")
def test_damage_met_late_leaves_the_catalog_that_took_its_place(
    built: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service that has a damaged file open meets the damage when a refresh has long mended it."""
    monkeypatch.setenv("CLOUDACCEL_CACHE_DIR", str(cache))
    good = Path(shutil.copy(built, cache / "good"))
    with open_session() as session:
        os.replace(good, built)
        there = built.stat().st_ino
        session.catalog = store.mend(session.catalog, cache)
        assert session.catalog.warnings == ("the catalog was damaged; another one is in its place by now.",)
        assert session.catalog.path == built
    assert built.stat().st_ino == there


def test_two_start_at_once_on_an_empty_cache(cache: Path) -> None:
    several = [start("quote", "H100:8", "--json", cache=cache) for _ in range(3)]
    answers = [finish(process) for process in several]
    assert [code for code, _, _ in answers] == [0, 0, 0]
    assert len({out.partition('"catalog"')[2][:100] for _, out, _ in answers}) == 1
    assert [p.suffix for p in cache.iterdir()] == [".sqlite"]


@pytest.mark.skipif(sys.platform == "win32", reason="nothing freezes a process there")
def test_killed_while_building_leaves_no_half_catalog(cache: Path) -> None:
    for at in ("load._fill", "load.segments", "build._sync", "build._replace"):
        with standing_still("quote", "H100:8", at=f"cloudaccel.catalog.{at}", env=at_cache(cache)) as process:
            assert list(cache.glob(".building-*"))
            process.kill()
        assert not list(cache.glob("bundled-*"))
    assert finish(start("quote", "H100:8", "--json", cache=cache))[0] == 0
    assert len(list(cache.glob("bundled-*.sqlite"))) == 1


def test_left_over_building_files_are_swept(cache: Path) -> None:
    cache.mkdir()
    old, new = cache / ".building-old.sqlite", cache / ".building-new.sqlite"
    old.write_bytes(b"x")
    new.write_bytes(b"x")
    os.utime(old, (0, 0))
    assert finish(start("quote", "H100:8", "--json", cache=cache))[0] == 0
    assert not old.exists()
    assert new.exists()  # another process may be writing it now


def test_a_cache_that_is_a_file(tmp_path: Path) -> None:
    path = tmp_path / "cache"
    path.write_text("mine", encoding="utf-8")
    code, out, err = finish(start("quote", "H100:8", "--json", cache=path))
    assert (code, '"offers": [{' in out) == (0, True)
    assert "Answering from memory" in err
    assert path.read_text(encoding="utf-8") == "mine"


def test_damage_that_cannot_be_replaced_is_answered_from_memory(
    cache: Path, built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = built.read_bytes()
    built.write_bytes(data[: len(data) // 3] + bytes(len(data) - len(data) // 3))
    monkeypatch.setenv("CLOUDACCEL_CACHE_DIR", str(cache))
    monkeypatch.setattr(store, "_set_aside", lambda path, _: path)  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]
    answer = quote("H100:8")
    assert answer.offers
    assert "cannot be replaced. Answering from memory" in answer.notices[0].text


@pytest.mark.parametrize(
    "statement", ["DROP TABLE offer", "DELETE FROM meta WHERE key = 'catalog_id'", "DROP TABLE meta"]
)
def test_a_catalog_without_one_of_its_tables(cache: Path, built: Path, statement: str) -> None:
    with contextlib.closing(sqlite3.connect(built)) as db:
        db.execute(statement)
        db.commit()
    named = run("--catalog", str(built), "quote", "H100:8")
    assert (named.code, "damaged" in named.err) == (6, True)
    code, out, err = finish(start("quote", "H100:8", "--json", cache=cache))
    assert (code, '"offers": [{' in out) == (0, True), err


def test_a_wrong_question_breaks_no_catalog(cache: Path, built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDACCEL_CACHE_DIR", str(cache))
    with open_session() as session, pytest.raises(sqlite3.OperationalError):
        session.read(lambda db: db.execute("SELEKT 1"))
    assert list(cache.iterdir()) == [built]


@root
def test_another_user_with_a_read_only_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.mkdir()
    monkeypatch.setenv("CLOUDACCEL_CACHE_DIR", str(cache))
    quote("H100:8")  # every module is loaded before the user changes: nobody may read root's interpreter
    for path in cache.iterdir():
        path.unlink()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgid(65534)
            os.setuid(65534)
            answer = run("quote", "H100:8", "--json")
            os.write(writer, f"{answer.code} {len(answer.out)} {answer.err}".encode())
        except BaseException as error:  # the parent has to hear of anything
            os.write(writer, repr(error).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    if "manifest.json" in said:
        pytest.skip("the checkout cannot be read by another user here")
    assert said.startswith("0 "), said
    assert "Answering from memory" in said
    assert not list(cache.iterdir())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], check=False)
    if mounted.returncode:
        pytest.skip("cannot mount a small file system here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@root
def test_a_full_disk_is_answered_from_memory(small_disk: Path) -> None:
    code, out, err = finish(start("quote", "H100:8", "--json", cache=small_disk))
    assert code == 0
    assert '"offers"' in out
    assert "cannot be written" in err
    assert not list(small_disk.iterdir())


@root
def test_a_snapshot_that_does_not_fit_says_so(small_disk: Path, cache: Path) -> None:
    code, _, err = finish(start("refresh", "--out", str(small_disk / "snap"), cache=cache))
    assert code == 2
    assert "cannot be written" in err


# -- the moment ----------------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
def test_interrupted_ends_with_130_and_leaves_nothing(cache: Path) -> None:
    with standing_still("quote", "H100:8", at="cloudaccel.catalog.build._sync", env=at_cache(cache)) as process:
        assert list(cache.glob(".building-*"))
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGCONT)
        code, out, err = finish(process)
    assert (code, out, err) == (130, "", "interrupted\n")
    assert not list(cache.iterdir())


@pytest.mark.usefixtures("built")
def test_a_reader_that_goes_away_is_no_error(cache: Path) -> None:
    command = f"{sys.executable} -m cloudaccel quote H100 --limit all --market any --json | head -c 10"
    answer = subprocess.run(
        ["sh", "-c", command], env={**os.environ, "CLOUDACCEL_CACHE_DIR": str(cache)}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert "Traceback" not in answer.stderr
    assert "Exception" not in answer.stderr


def test_a_clock_before_the_catalog() -> None:
    answer = quote("H100:8", today=date(2020, 1, 1), max_age="30d")
    assert answer.total > 0
    ages = [age_days(offer, answer.today) for offer in answer.offers if offer.price.as_of]
    assert set(ages) == {None}
    assert all(answer.is_stale(offer) for offer in answer.offers)
    assert "clock" in [notice.code for notice in answer.notices]


@pytest.mark.usefixtures("built")
def test_readers_never_notice_a_refresh(snapshot: Path, cache: Path) -> None:
    writer = start("refresh", "--from", str(snapshot), cache=cache)
    readers = 0
    while writer.poll() is None:
        code, out, err = finish(start("quote", "H100:8", "--json", cache=cache))
        assert (code, '"offers": [{' in out) == (0, True), err
        readers += 1
    assert finish(writer)[0] == 0
    assert readers
    assert (cache / "catalog.sqlite").exists()


def test_two_refreshes_at_once(snapshot: Path, cache: Path) -> None:
    writers = [start("refresh", "--from", str(snapshot), cache=cache) for _ in range(2)]
    assert [finish(writer)[0] for writer in writers] == [0, 0]
    assert finish(start("quote", "H100:8", cache=cache))[0] == 0
    assert not list(cache.glob(".building-*"))


def test_settings_files_are_checked(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("colour = 'red'\n", encoding="utf-8")
    answer = run("--config", str(path), "quote", "H100:8")
    assert (answer.code, "unknown setting 'colour'" in answer.err) == (2, True)
    path.write_text("catalog = [", encoding="utf-8")
    assert run("--config", str(path), "quote", "H100:8").code == 2


def test_a_profile_goes_over_the_file_and_one_that_is_not_there_is_said(tmp_path: Path) -> None:
    """He would have believed to ask with the settings of his profile, and none of them was read."""
    path = tmp_path / "config.toml"
    path.write_text('max_age = "9000d"\n[profile.work]\nmax_age = "1d"\n', encoding="utf-8")
    assert "STALE" not in run("--config", str(path), "quote", "H100:8").out
    assert "STALE" in run("--config", str(path), "--profile", "work", "quote", "H100:8").out
    answer = run("--config", str(path), "--profile", "play", "quote", "H100:8")
    assert (answer.code, "no [profile.play] table" in answer.err) == (2, True)


def test_the_schema_version_is_part_of_the_file_name(cache: Path) -> None:
    assert finish(start("quote", "H100:8", "--json", cache=cache))[0] == 0
    (path,) = cache.glob("bundled-*.sqlite")
    assert path.name.startswith(f"bundled-{SCHEMA_VERSION}-")
