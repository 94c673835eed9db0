"""What is kept of a reading that was not finished: whole, of today, of one reader, and never in anybody's way."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cloudaccel.catalog import spool as spools
from cloudaccel.catalog.spool import Page, Spool, is_strong, key_of, spooled, sweep
from cloudaccel.protocols import Scope

SCOPE = Scope(provider="acme", partition="acme")
NOON = 1_795_780_800.0  # 2026-11-27 12:00 UTC
PAGE = Page(b'{"a": 1}', "If-None-Match", '"v1"')


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Spool]:
    with spooled(tmp_path, SCOPE, lambda: NOON) as spool:
        assert spool is not None
        yield spool


def only(folder: Path, ending: str) -> Path:
    (found,) = folder.rglob(f"*{ending}")
    return found


def reopened(folder: Path, now: float, key: str = "k") -> Page | None:
    with spooled(folder, SCOPE, lambda: now) as spool:
        assert spool is not None
        return spool.page(key)


def test_a_page_is_there_for_the_next_reader_of_the_same_list(tmp_path: Path) -> None:
    with spooled(tmp_path, SCOPE, lambda: NOON) as spool:
        assert spool is not None
        spool.keep("k", PAGE)
        assert not spool.used
    assert reopened(tmp_path, NOON + 60) == PAGE
    assert reopened(tmp_path, NOON + 60, "other") is None


@pytest.mark.parametrize("later", [3601, 12 * 3600, -60], ids=["an hour", "another day", "the clock went back"])
def test_what_is_old_is_not_taken(tmp_path: Path, later: float) -> None:
    """He would have believed a price to be of today that was read yesterday."""
    with spooled(tmp_path, SCOPE, lambda: NOON) as spool:
        assert spool is not None
        spool.keep("k", PAGE)
    assert reopened(tmp_path, NOON + later) is None


def test_at_midnight_a_list_begins_anew(tmp_path: Path) -> None:
    with spooled(tmp_path, SCOPE, lambda: NOON + 12 * 3600 - 10) as spool:
        assert spool is not None
        spool.keep("k", PAGE)
    assert reopened(tmp_path, NOON + 12 * 3600 + 10) is None


@pytest.mark.parametrize("at", [0, 10, -1])
def test_a_damaged_page_counts_as_none(tmp_path: Path, at: int) -> None:
    with spooled(tmp_path, SCOPE, lambda: NOON) as spool:
        assert spool is not None
        spool.keep("k", PAGE)
    file = only(tmp_path, ".page")
    body = bytearray(file.read_bytes())
    body[at] ^= 1
    file.write_bytes(body)
    assert reopened(tmp_path, NOON) is None


def noted(kept: Spool, *blocks: tuple[int, list[bytes]]) -> None:
    part = kept.begin("k", "If-None-Match", '"v1"')
    for size, found in blocks:
        part.add(size, found)


STEP = spools.STEP_BYTES


def test_a_part_is_what_was_noted_last(kept: Spool) -> None:
    noted(kept, (STEP, [b"one", b"two"]), (STEP, []), (STEP, [b"three"]), (10, [b"not yet noted"]))
    part = kept.part("k")
    assert part is not None
    assert (part.at, part.lines, part.validator) == (3 * STEP, [b"one", b"two", b"three"], '"v1"')
    part.add(STEP, [b"four"])
    again = kept.part("k")
    assert again is not None
    assert (again.at, again.lines) == (4 * STEP, [b"one", b"two", b"three", b"four"])


def test_a_part_cut_or_damaged_anywhere_is_taken_up_to_there(tmp_path: Path, kept: Spool) -> None:
    """A kill, or a disk, may leave any part of what was written."""
    noted(kept, (STEP, [b"one"]), (STEP, [b"two"]))
    file = only(tmp_path, ".part")
    whole = file.read_bytes()
    for end in range(len(whole)):
        for body in (whole[:end], whole[:end] + bytes((whole[end] ^ 1,)) + whole[end + 1 :]):
            file.write_bytes(body)
            part = kept.part("k")
            lines = part.lines if part else []
            assert lines in ([], [b"one"])
            assert part is None or part.at == len(lines) * STEP
            assert part is None or part.validator == '"v1"'


def test_a_reader_beside_another_keeps_nothing(tmp_path: Path, kept: Spool) -> None:
    kept.keep("k", PAGE)
    with spooled(tmp_path, SCOPE, lambda: NOON) as second:
        assert second is None
    with spooled(tmp_path, Scope(provider="acme", partition="other"), lambda: NOON) as other:
        assert other is not None
        assert other.page("k") is None


def test_what_is_too_much_is_not_kept(kept: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spools, "MOST_BYTES", 10)
    kept.clear()
    kept.keep("k", PAGE)
    kept.keep("l", PAGE)
    assert kept.page("k") == PAGE
    assert kept.page("l") is None


def test_a_disk_that_refuses_ends_the_keeping_alone(tmp_path: Path) -> None:
    (tmp_path / spools.FOLDER).write_text("in the way")
    with spooled(tmp_path, SCOPE, lambda: NOON) as spool:
        assert spool is None


def test_nothing_is_left_of_what_was_finished_or_is_old(tmp_path: Path) -> None:
    with spooled(tmp_path, SCOPE, lambda: NOON):
        pass
    assert list(tmp_path.iterdir()) == []
    with spooled(tmp_path, SCOPE, lambda: NOON) as spool:
        assert spool is not None
        spool.keep("k", PAGE)
    sweep(tmp_path, lambda: NOON + 60)
    assert reopened(tmp_path, NOON + 60) == PAGE
    sweep(tmp_path, lambda: NOON + 3700)
    assert list(tmp_path.iterdir()) == []


def test_another_key_asks_for_another_list_and_is_not_in_its_name() -> None:
    one, two = (key_of("https://acme.example", {"Authorization": word}) for word in ("canary-1", "canary-2"))
    assert one != two
    assert "canary" not in one


def test_only_a_strong_tag_says_that_two_parts_are_of_one_file() -> None:
    assert is_strong('"v1"')
    assert not is_strong('W/"v1"')
    assert not is_strong("")


HOSTILE = (
    b"", b"mine", b"[" * 100_000, b'{"a":' * 100_000, b"9" * 5000, b"null\n", b"\xff\n", b'{"sha256": 5}\n',
    b'{"sha256": "x", "condition": null, "validator": {}}\n', b'{"condition": "If-None-Match", "validator": "v"}\n' * 3,
    b'{"condition": "", "validator": ""}\n{"at": 1e400, "bytes": 1e400, "sha256": ""}\n',
    b'{"condition": "", "validator": ""}\n{"at": 5, "bytes": 1' + b"0" * 30 + b', "sha256": ""}\n',
    b'{"condition": "", "validator": ""}\n{"at": 5, "bytes": -1, "sha256": ""}\n' + b"x" * 1000,
    b'{"condition": "", "validator": ""}\n{"at": 5, "bytes": 99999999999999, "sha256": ""}\n',
)  # fmt: skip


@pytest.mark.parametrize("ending", ["page", "part"])
def test_whatever_is_in_the_place_of_what_was_kept_counts_as_nothing(tmp_path: Path, kept: Spool, ending: str) -> None:
    """A reading that is ended by the notes of the one before it would never be finished."""
    kept.keep("k", PAGE)
    place = only(tmp_path, ".page").with_suffix(f".{ending}")
    for content in HOSTILE:
        place.write_bytes(content)
        assert (kept.page("k"), kept.part("k")) in ((None, None), (PAGE, None)), content[:100]
    place.unlink()
    place.mkdir()
    (place / "mine").write_text("x")
    assert kept.part("k") is None
    kept.keep("k", PAGE)
    assert kept.page("k") == (PAGE if ending == "part" else None)
    noted(kept, (STEP, [b"one"]))
    kept.clear()
    assert not kept.is_kept()


@pytest.mark.parametrize("place", ["lock", "begun"])
def test_a_folder_in_the_place_of_its_lock_ends_the_keeping_alone(tmp_path: Path, place: str) -> None:
    with spooled(tmp_path, SCOPE, lambda: NOON) as spool:
        assert spool is not None
        spool.keep("k", PAGE)
    file = only(tmp_path, place)
    file.unlink()
    file.mkdir()
    with spooled(tmp_path, SCOPE, lambda: NOON) as spool:
        assert spool is None or spool.page("k") is None
    sweep(tmp_path, lambda: NOON)
