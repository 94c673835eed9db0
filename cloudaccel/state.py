"""The state store: what must not be lost (journal of runs, tokens, audit), in SQLite on this machine or in PostgreSQL.

`CLOUDACCEL_DATABASE_URL` names the database; without it there is one file in the user's data folder. The schema is
made and moved forward by the scripts in ``migrations/``. Times are UTC text (``2026-11-25T10:00:00.000000Z``, so that
text order is time order on every database), money is decimal text.
"""

import os
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cloudaccel import settings
from cloudaccel.errors import ConfigError, StorageError

try:
    import sqlalchemy as sa
    from sqlalchemy import event, exc
except ImportError as error:  # an extra, said in the words that mend it
    raise ConfigError(
        "what must not be lost is kept in a database, by SQLAlchemy: pip install 'cloudaccel[provision]'."
    ) from error

HEAD = "0004"  # the newest revision in migrations/versions; a test compares
_LOCK_WAIT_S = 30
_ALONE = 0x636C6F75  # the number of our lock in PostgreSQL; any that no other program of that database uses

metadata = sa.MetaData()

install = sa.Table(
    "install",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("created_at", sa.String(32), nullable=False),
)

run = sa.Table(
    "run",
    metadata,
    sa.Column("id", sa.String(16), primary_key=True),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("spec", sa.Text, nullable=False),  # JSON: candidates, limits, lease; what a resume starts from
    sa.Column("spec_hash", sa.String(64), nullable=False),
    sa.Column("provider", sa.String(64)),
    sa.Column("account", sa.String(128)),
    sa.Column("region", sa.String(64)),
    sa.Column("zone", sa.String(64)),
    sa.Column("instance", sa.String(128)),
    sa.Column("accelerator", sa.String(128)),
    sa.Column("accelerator_count", sa.String(16)),
    sa.Column("nodes", sa.Integer, nullable=False),
    sa.Column("market", sa.String(32)),
    sa.Column("price_per_hour", sa.String(32)),  # of one machine, frozen at launch
    sa.Column("currency", sa.String(3)),
    sa.Column("price_as_of", sa.String(32)),
    sa.Column("offer_id", sa.String(32)),
    sa.Column("catalog_id", sa.String(128)),
    sa.Column("owner", sa.String(128)),
    sa.Column("created_at", sa.String(32), nullable=False),
    sa.Column("launched_at", sa.String(32)),
    sa.Column("lease_until", sa.String(32)),
    sa.Column("deadline_at", sa.String(32)),
    sa.Column("ended_at", sa.String(32)),
    sa.Column("note", sa.Text),
    sa.Column("idle_since", sa.String(32)),
    sa.Column("holder", sa.String(128)),  # the process at work on it, and until when it holds it
    sa.Column("held_until", sa.String(32)),
    sa.Column("fence", sa.Integer, nullable=False, server_default="0"),
    sa.Column("principal", sa.String(255)),  # who asked for it; None: started before this was written down
    sa.Column("project", sa.String(64), index=True),
)

operation = sa.Table(
    "operation",
    metadata,
    sa.Column("token", sa.String(64), primary_key=True),
    sa.Column("run", sa.String(16), sa.ForeignKey("run.id"), nullable=False, index=True),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("candidate", sa.Integer, nullable=False),
    sa.Column("provider", sa.String(64), nullable=False),
    sa.Column("region", sa.String(64), nullable=False),
    sa.Column("zone", sa.String(64), nullable=False),
    sa.Column("request", sa.Text, nullable=False),  # JSON: exactly what is sent
    sa.Column("state", sa.String(16), nullable=False),  # intent, sent, done, failed, absent
    sa.Column("error", sa.String(32)),
    sa.Column("error_code", sa.String(128)),
    sa.Column("message", sa.Text),
    sa.Column("created_at", sa.String(32), nullable=False),
    sa.Column("sent_at", sa.String(32)),
    sa.Column("last_sent_at", sa.String(32)),
    sa.Column("ended_at", sa.String(32)),
)

resource = sa.Table(
    "resource",
    metadata,
    sa.Column("run", sa.String(16), sa.ForeignKey("run.id"), primary_key=True),
    sa.Column("kind", sa.String(32), primary_key=True),
    sa.Column("id", sa.String(255), primary_key=True),
    sa.Column("provider", sa.String(64), nullable=False),
    sa.Column("region", sa.String(64), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),  # live, gone
    sa.Column("token", sa.String(64)),
    sa.Column("first_seen_at", sa.String(32), nullable=False),
    sa.Column("gone_at", sa.String(32)),
)

block = sa.Table(
    "block",
    metadata,
    sa.Column("scope", sa.String(255), primary_key=True),
    sa.Column("error", sa.String(32), nullable=False),
    sa.Column("error_code", sa.String(128), nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("until", sa.String(32), nullable=False),
)

token = sa.Table(
    "token",
    metadata,
    sa.Column("id", sa.String(16), primary_key=True),  # the part of a token that may be shown
    sa.Column("hash", sa.String(64), nullable=False),  # SHA-256 of the whole token, which has 192 random bits
    sa.Column("principal", sa.String(255), nullable=False),  # the person or program that it speaks for
    sa.Column("project", sa.String(64), nullable=False),
    sa.Column("scopes", sa.String(64), nullable=False),  # words with spaces between
    sa.Column("note", sa.String(255), nullable=False),
    sa.Column("created_at", sa.String(32), nullable=False),
    sa.Column("created_by", sa.String(255), nullable=False),
    sa.Column("expires_at", sa.String(32)),
    sa.Column("last_used_at", sa.String(32)),
    sa.Column("revoked_at", sa.String(32)),
)

project = sa.Table(
    "project",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("budget", sa.String(32), nullable=False),  # what all its runs together may cost
    sa.Column("approve_above", sa.String(32)),  # a run that may cost more needs a second person; None: none does
    sa.Column("currency", sa.String(3), nullable=False),
    sa.Column("changed_at", sa.String(32), nullable=False),
    sa.Column("changed_by", sa.String(255), nullable=False),
)

approval = sa.Table(
    "approval",
    metadata,
    sa.Column("id", sa.String(16), primary_key=True),
    sa.Column("state", sa.String(16), nullable=False),  # waiting, approved, refused, expired
    sa.Column("principal", sa.String(255), nullable=False),
    sa.Column("project", sa.String(64), nullable=False),
    sa.Column("request", sa.Text, nullable=False),  # JSON: the body of the request, asked again when it is approved
    sa.Column("most", sa.String(32), nullable=False),  # what the run may cost at most
    sa.Column("currency", sa.String(3), nullable=False),
    sa.Column("created_at", sa.String(32), nullable=False),
    sa.Column("expires_at", sa.String(32), nullable=False),
    sa.Column("decided_at", sa.String(32)),
    sa.Column("decided_by", sa.String(255)),
    sa.Column("note", sa.Text),
    sa.Column("run", sa.String(16)),
)

idempotency = sa.Table(
    "idempotency",
    metadata,
    sa.Column("principal", sa.String(255), primary_key=True),
    sa.Column("key", sa.String(128), primary_key=True),
    sa.Column("digest", sa.String(64), nullable=False),  # of the request; the same key for another one is refused
    sa.Column("kind", sa.String(16), nullable=False),  # what came of it: run, approval
    sa.Column("id", sa.String(16), nullable=False),
    sa.Column("created_at", sa.String(32), nullable=False),
)

# Append only, by triggers of the migration. Each row holds the hash of the one before it.
audit = sa.Table(
    "audit",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("at", sa.String(32), nullable=False),
    sa.Column("principal", sa.String(255), nullable=False),
    sa.Column("project", sa.String(64), nullable=False),
    sa.Column("action", sa.String(32), nullable=False),
    sa.Column("subject", sa.String(255), nullable=False),
    sa.Column("outcome", sa.String(16), nullable=False),  # done, refused, failed
    sa.Column("detail", sa.Text, nullable=False),
    sa.Column("request_id", sa.String(64), nullable=False),
    sa.Column("hash", sa.String(64), nullable=False),
)


job = sa.Table(
    "job",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("schedule", sa.String(128), nullable=False),
    sa.Column("owner", sa.String(255)),
    sa.Column("token", sa.Integer, nullable=False),  # one more at each claim; an older one may write nothing
    sa.Column("lease_until", sa.String(32)),
    sa.Column("next_at", sa.String(32), nullable=False),
    sa.Column("started_at", sa.String(32)),
    sa.Column("ok_at", sa.String(32)),
    sa.Column("error", sa.Text),  # how the last run ended; None: well
)

alert = sa.Table(
    "alert",
    metadata,
    sa.Column("id", sa.String(16), primary_key=True),
    sa.Column("kind", sa.String(16), nullable=False),  # price, runs, refresh
    sa.Column("question", sa.Text, nullable=False),  # JSON: what is asked, and the limit
    sa.Column("target", sa.Text, nullable=False),  # address; may be a secret in itself
    sa.Column("style", sa.String(16), nullable=False),  # json, slack, mail
    sa.Column("secret", sa.String(128), nullable=False),  # key of the signature, which the receiver has too
    sa.Column("created_at", sa.String(32), nullable=False),
    sa.Column("last_key", sa.String(64)),  # digest of the last news, so that it is told once
)

delivery = sa.Table(
    "delivery",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("alert", sa.String(16), sa.ForeignKey("alert.id", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("body", sa.Text, nullable=False),  # JSON, exactly as it is signed and sent
    sa.Column("state", sa.String(16), nullable=False),  # waiting, sent, dead
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("next_at", sa.String(32), nullable=False),
    sa.Column("error", sa.Text),
    sa.Column("created_at", sa.String(32), nullable=False),
    sa.Column("sent_at", sa.String(32)),
)


def database_url() -> str:
    """``CLOUDACCEL_DATABASE_URL``, else a file in the user's data folder."""
    return os.environ.get("CLOUDACCEL_DATABASE_URL") or f"sqlite:///{settings.data_dir() / 'state.db'}"


def open_state(url: str | None = None) -> sa.Engine:
    """An engine on the state store with its schema up to date; who opens it disposes of it.

    Raises
    ------
    ConfigError
        If the address cannot be used, or the schema is newer than this program.
    StorageError
        If the file cannot be made or written.
    """
    url = url or database_url()
    try:
        parsed = sa.engine.make_url(url)
        if parsed.get_backend_name() == "sqlite" and parsed.database:
            _make_private(Path(parsed.database))
        # A database that was started anew has forgotten its connections; each is tried before it is used.
        engine = sa.create_engine(parsed, connect_args=_connect_args(parsed), hide_parameters=True, pool_pre_ping=True)
    except (exc.ArgumentError, exc.NoSuchModuleError, ImportError, ValueError) as error:  # ValueError: its port
        raise ConfigError("CLOUDACCEL_DATABASE_URL is no address of a database that this program can use.") from error
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _durable)
        event.listen(engine, "begin", _begin_immediate)
        event.listen(engine, "handle_error", _said_of_file)
    elif engine.dialect.name == "postgresql":
        event.listen(engine, "begin", _begin_alone)
    try:
        _migrate(engine)
    except BaseException:
        engine.dispose()
        raise
    return engine


@contextmanager
def opened(url: str | None = None) -> Generator[sa.Engine]:
    """The engine of `open_state` while entered; its connections are closed at the end. Raises as `open_state`."""
    engine = open_state(url)
    try:
        yield engine
    finally:
        engine.dispose()


def utc_text(moment: datetime) -> str:
    """An aware time as the text that the tables hold; always the same length."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_utc(text: str) -> datetime:
    """The time of `utc_text`'s text."""
    return datetime.fromisoformat(text)


def _make_private(file: Path) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        file.touch(mode=0o600, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"the journal {file} cannot be written: {error.strerror}. No machine is started without it. "
            "Free the folder, or set CLOUDACCEL_DATA_DIR or CLOUDACCEL_DATABASE_URL."
        ) from error


def _connect_args(url: sa.URL) -> dict[str, Any]:
    if url.get_backend_name() == "sqlite":
        return {"timeout": _LOCK_WAIT_S}
    if url.get_backend_name() == "postgresql":
        # A replica that froze inside a transaction is put out of it, so that the others wait no longer than that.
        wait_ms = _LOCK_WAIT_S * 1000
        options = f"-c lock_timeout={wait_ms} -c idle_in_transaction_session_timeout={wait_ms}"
        return {"connect_timeout": _LOCK_WAIT_S, "options": options}
    return {}


def _durable(connection: Any, _record: Any) -> None:
    """WAL for readers beside the writer; FULL, so that a commit is on the disk before a call is made."""
    connection.isolation_level = None  # SQLAlchemy's BEGIN below decides, not the driver
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_NOT_WRITTEN = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN}


def _said_of_file(context: Any) -> None:
    """A file that is damaged or cannot be written, at whichever statement it shows, in words that help."""
    error: BaseException = context.original_exception
    code: int = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the upper bits only say where
    file = context.engine.url.database if context.engine is not None else "of this machine"
    if code in _DAMAGE:
        raise StorageError(
            f"the journal {file} is damaged ({error}) and stays as it is. Nothing is started without it, and machines "
            "may be running. Put a copy of it in its place; if there is none, move it away, and "
            "'cloudaccel provision reap --reconcile --provider NAME' finds them by their tags (--adopt)."
        ) from error
    if code in _NOT_WRITTEN:
        raise StorageError(
            f"the journal {file} cannot be written ({error}). Nothing is started without it. Free the disk or the "
            "folder, or set CLOUDACCEL_DATA_DIR or CLOUDACCEL_DATABASE_URL."
        ) from error


def _begin_immediate(connection: sa.Connection) -> None:
    """Take the write lock at the start: a transaction that reads first and writes later could otherwise be refused."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _begin_alone(connection: sa.Connection) -> None:
    """One transaction at a time over all replicas, as on SQLite: what is read first still holds when it is written."""
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_ALONE})")


def _migrate(engine: sa.Engine) -> None:
    try:
        with engine.connect() as connection:
            if _revision(connection) == HEAD:
                return
        _upgrade(engine)
    except exc.OperationalError as error:
        raise StorageError(
            f"the state store does not answer: {error.orig}. No machine is started without it."
        ) from error


def _revision(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()


def _upgrade(engine: sa.Engine) -> None:
    from alembic import command, util  # half a second that only a new store pays
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    try:
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except util.CommandError as error:
        raise ConfigError(f"the state store was made by a newer version: {error}. Update cloudaccel.") from error
