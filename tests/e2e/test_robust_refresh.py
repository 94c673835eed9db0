"""What refreshes keep beside the catalog, damaged: one message or a silent repair, and no price that is not whole."""

import json
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from cloudaccel.catalog import carried
from cloudaccel.catalog.notebook import Notebook
from cloudaccel.testing.cloud import FakeCloud, Reply
from tests.e2e.test_refresh_live import cache, cloud, products
from tests.support import run

__all__ = ["cache", "cloud"]  # fixtures
pytestmark = pytest.mark.network
NOTES = "refresh.json"


@pytest.fixture
def tagged(cloud: FakeCloud) -> FakeCloud:
    """Oracle's list with a tag, taken once."""
    cloud.serve("/oci/", lambda _: Reply(body=products(B98415=11), headers={"ETag": '"v1"'}))
    assert run("refresh", "oci").code == 0
    return cloud


def _set(text: str, name: str, value: object) -> str:
    notes = json.loads(text)
    next(iter(notes["note"]["scopes"].values()))[name] = value
    return json.dumps(notes)


CHANGES: dict[str, Callable[[str], str]] = {
    "held is a figure": lambda text: _set(text, "held", 5),
    "held has no date": lambda text: _set(text, "held", {"a": ["1"]}),
    "held is of no zone": lambda text: _set(text, "held", {"a": ["1", "2026-11-27T00:00:00"]}),
    "tried at a figure": lambda text: _set(text, "tried_at", 5),
    "asked lacks all": lambda text: _set(text, "asked", {"x": 1}),
    "asked is no address": lambda text: _set(text, "asked", {"rows": 1, "sources": [], "answers": [["//[", "", ""]]}),
    "cut": lambda text: text[: len(text) // 2],
    "nested": lambda _: "[" * 100_000,
    "without its sum": lambda text: json.dumps(json.loads(text)["note"]),
    "null": lambda _: "null",
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_notes_of_the_refresh_that_were_changed_count_as_none(tagged: FakeCloud, cache: Path, change: str) -> None:
    """He would have believed a price confirmed on another day that a flipped bit had dated back."""
    assert tagged.asked
    notes = cache / NOTES
    notes.write_text(CHANGES[change](notes.read_text()))
    assert Notebook(cache).entries() == {}
    status = run("refresh", "--status")
    assert (status.code, status.err) == (0, "")
    again = run("refresh", "oci")
    assert (again.code, again.err) == (0, "")
    assert Notebook(cache).entries()


def test_notes_with_any_one_byte_changed_are_none_or_the_same(tagged: FakeCloud, cache: Path) -> None:
    assert tagged.asked
    notes = cache / NOTES
    whole, before, rng = notes.read_bytes(), Notebook(cache).entries(), random.Random(7)  # noqa: S311
    for _ in range(300):
        at = rng.randrange(len(whole))
        notes.write_bytes(whole[:at] + bytes((whole[at] ^ (1 << rng.randrange(8)),)) + whole[at + 1 :])
        assert Notebook(cache).entries() in ({}, before)


def test_a_note_of_what_was_carried_in_that_was_changed_counts_as_none(tmp_path: Path) -> None:
    note = carried.Carried(
        address="a", condition="ETag", validator="v", trusted="", bundled="b", catalog_id="c", offers=1, history=2,
        signature="", signed_by="",
    )  # fmt: skip
    carried.write(tmp_path, note)
    assert carried.read(tmp_path) == note
    file = tmp_path / "carried.json"
    whole = file.read_text()
    for text in (whole.replace('"offers": 1', '"offers": "x"'), whole[:-9], "[" * 100_000, '{"note": {}}', "5"):
        file.write_text(text)
        assert carried.read(tmp_path) is None


@pytest.mark.parametrize(
    "name", ["refresh.lock", NOTES, "unfinished", "schedule.lock", "schedule.json", "carried.json"]
)
@pytest.mark.parametrize("how", ["a folder", "a link to itself", "text"])
def test_anything_in_a_files_place_is_one_message_or_none(cloud: FakeCloud, cache: Path, name: str, how: str) -> None:
    assert cloud.url
    path = cache / name
    if how == "a folder":
        path.mkdir()
        (path / "mine").write_text("x")
    elif how == "a link to itself":
        path.symlink_to(path)
    else:
        path.write_text("mine")
    needed = {"refresh.lock": ("a folder", "a link to itself"), NOTES: ("a folder",)}
    answer = run("refresh", "oci")
    if how in needed.get(name, ()):
        assert (answer.code, answer.err.count("\n")) == (2, 1), answer.err
        assert "remove what is in the file's place" in answer.err
    else:
        assert (answer.code, answer.err) == (0, ""), answer.err
    for words in (("refresh", "--status"), ("quote", "H100:8")):
        assert run(*words).code == 0
    if how == "a folder":
        assert (path / "mine").read_text() == "x"


def test_a_refresh_that_finds_the_catalog_damaged_says_so_and_keeps_it(tagged: FakeCloud, cache: Path) -> None:
    """He would have believed that the sellers he did not name still had the prices of their last refresh."""
    assert tagged.asked
    (cache / "catalog.sqlite").write_bytes(b"broken")
    answer = run("refresh", "oci")
    assert answer.code == 0
    assert "was damaged and is kept as" in answer.err
    assert (cache / "catalog.damaged").read_bytes() == b"broken"


@pytest.mark.parametrize("note", ["5", "[" * 9999, '{"schedule": [], "next_at": 7, "process": 1e999}', "{}", "\xff"])
def test_the_note_of_a_schedule_that_is_none_is_not_shown(cache: Path, note: str) -> None:
    from cloudaccel.catalog.locking import locked

    (cache / "schedule.json").write_bytes(note.encode("latin-1"))
    with locked(cache / "schedule.lock"):
        answer = run("refresh", "--status")
    assert (answer.code, answer.err, "on the schedule" in answer.out) == (0, "", False)
    assert os.path.exists(cache / "schedule.json")
