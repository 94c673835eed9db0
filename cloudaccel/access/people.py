"""A person or program that asks, what they may do, and the errors when they may not."""

import getpass
import re
from dataclasses import dataclass

from cloudaccel.errors import CloudAccelError, QueryError

SCOPES = ("read", "plan", "provision", "admin")
# What each scope lets do. Who watches over money does not by that start machines.
_ALSO = {
    "read": frozenset({"read"}),
    "plan": frozenset({"read", "plan"}),
    "provision": frozenset({"read", "plan", "provision"}),
    "admin": frozenset({"read", "admin"}),
}
DEFAULT_PROJECT = "default"
_PROJECT = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_PRINCIPAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+:/|=#-]{0,254}")


class NotSignedIn(CloudAccelError):
    """Nobody is signed in, or the token is not valid any more."""

    code = "not_signed_in"
    exit_code = 7


class NotAllowed(CloudAccelError):
    """Whoever is signed in may not do this."""

    code = "not_allowed"
    exit_code = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who asks. `name` is the person or program, the same by every way of signing in; `token` the id of the token."""

    name: str
    project: str
    scopes: frozenset[str]
    token: str = ""

    def may(self, scope: str) -> bool:
        """Whether the scope is among what this principal's scopes include."""
        return any(scope in _ALSO[held] for held in self.scopes)

    def is_same_person(self, name: str) -> bool:
        """Whether `name` is this person; capital letters tell nobody apart."""
        return self.name.casefold() == name.casefold()


def logged_in() -> str:
    """Who is logged in at this machine; "" where nobody can tell."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return ""


def local_principal() -> str:
    """Whoever works at this machine's own command line."""
    name = logged_in()
    return f"local:{name}" if name else "local"


def scopes_of(words: str) -> frozenset[str]:
    """The scopes in a text with commas or spaces. Raises `QueryError` for any other word, or none."""
    found = frozenset(words.replace(",", " ").split())
    if not found or not found <= set(SCOPES):
        raise QueryError(f"scope: {words!r} is none of {', '.join(SCOPES)}.")
    return found


def checked_project(name: str) -> str:
    """The name of a project: small letters, digits and hyphens. Raises `QueryError`."""
    if not _PROJECT.fullmatch(name):
        raise QueryError(f"project: {name!r} must be small letters, digits and hyphens, at most 63.")
    return name


def checked_principal(name: str) -> str:
    """The name of a person or program. Raises `QueryError`."""
    if not _PRINCIPAL.fullmatch(name):
        raise QueryError(f"person: {name!r} must be a name such as alice@example.org, without spaces, at most 255.")
    if is_local(name):
        raise QueryError(f"person: {name!r} would stand for somebody at the command line of the service itself.")
    return name


def is_local(name: str) -> bool:
    """Whether the name is one of `local_principal`."""
    return name.casefold().partition(":")[0] == "local"
