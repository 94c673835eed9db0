"""The commands of deploy/README.md that back up and restore: taken during writes, and what comes back is whole."""

import re
import shlex
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.postgres import Postgres, running

pytest.importorskip("sqlalchemy", reason="needs cloudaccel[service]")

from sqlalchemy.exc import DBAPIError

from cloudaccel import state
from cloudaccel.access import audit
from cloudaccel.access.tokens import Tokens
from cloudaccel.provision.journal import Journal
from cloudaccel.testing.crashes import VirtualClock
from tests.contract.test_journal import spec

pytestmark = [pytest.mark.network, pytest.mark.slow]
README = Path(__file__).parents[2] / "deploy" / "README.md"


def commands(kind: str) -> list[str]:
    """The commands of the block that is marked so in the README."""
    block = re.search(rf"<!-- {kind} -->\n```console\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert block, f"deploy/README.md has no block {kind}"
    return [line.removeprefix("$ ") for line in block[1].splitlines() if line.startswith("$ ")]


def run(command: str, **names: str) -> None:
    """Run one of them, its names of files and databases replaced by those of the test."""
    for name, value in names.items():
        command = command.replace(name.replace("_", "."), value)
    words = shlex.split(command)
    if shutil.which(words[0]) is None:
        pytest.skip(f"no {words[0]} on this machine")
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr


class Kept:
    """A state store with a run, its machine, a token and a log."""

    def __init__(self, url: str) -> None:
        self.engine = state.open_state(url)
        self.journal = Journal(self.engine, VirtualClock())
        self.tokens = Tokens(self.engine, lambda: datetime.now(UTC))

    def fill(self) -> tuple[str, str]:
        secret, _ = self.tokens.create("ann", frozenset({"read"}), project="p", lasts_s=3600, by="test")
        made = self.journal.open_run(spec(), principal="ann", project="p")
        self.journal.seen(made.id, "fake", "here", [("machine", "i-1")])
        return made.id, secret

    def check(self, run_id: str, secret: str) -> None:
        assert [(r.id, r.principal) for r in self.journal.runs()] == [(run_id, "ann")]
        assert [r.id for r in self.journal.resources(run_id, live=True)] == ["i-1"]
        assert self.tokens.principal(secret) is not None
        assert audit.broken_at(self.engine) is None
        assert len(audit.entries(self.engine)) == 1
        with pytest.raises(DBAPIError, match="append only"), self.engine.begin() as db:
            db.execute(state.audit.delete())


def test_sqlite_is_copied_while_it_is_written_and_restored(tmp_path: Path) -> None:
    """A plain copy of the file would miss what is still in the log beside it."""
    live, copy = tmp_path / "state.db", tmp_path / "copy.db"
    kept = Kept(f"sqlite:///{live}")
    run_id, secret = kept.fill()
    backup, restore = commands("sqlite")
    with kept.engine.connect() as db:  # a writer at work
        db.execute(state.install.insert().values(id="not-committed", created_at="x"))
        run(backup, state_db=str(live), copy_db=str(copy))
        db.rollback()
    kept.journal.open_run(spec())  # after the copy was taken
    kept.engine.dispose()
    for file in tmp_path.glob("state.db*"):
        file.unlink()
    run(restore, state_db=str(live), copy_db=str(copy))
    back = Kept(f"sqlite:///{live}")
    back.check(run_id, secret)
    back.engine.dispose()


def test_postgresql_is_dumped_and_restored(tmp_path: Path) -> None:
    with running() as server:
        url = server.fresh()
        kept = Kept(url)
        run_id, secret = kept.fill()
        backup, create, restore = commands("postgresql")
        names = _names(server, url, tmp_path)
        run(backup, **names)
        kept.engine.dispose()
        run(create, **names)
        run(restore, **names)
        back = Kept(server.url.removesuffix("postgres") + "restored")
        back.check(run_id, secret)
        back.engine.dispose()


def _names(server: Postgres, url: str, folder: Path) -> dict[str, str]:
    plain = url.replace("postgresql+psycopg", "postgresql")
    return {
        "postgresql://db/cloudaccel": plain,
        "postgresql://db/restored": server.url.replace("postgresql+psycopg", "postgresql").removesuffix("postgres")
        + "restored",
        "postgresql://db/postgres": server.url.replace("postgresql+psycopg", "postgresql"),
        "state_dump": str(folder / "state.dump"),
    }
