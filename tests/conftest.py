"""What every test gets: no network, an empty home, and hypothesis set up to give the same result twice.

Sockets are refused from the moment pytest starts, in this process; a test marked ``network`` may use loopback, and
nothing may go further. Programs that a test starts are not held by this: give them no reason to call out.
"""

import gc
import ipaddress
import os
import signal
import socket
from collections.abc import Callable, Generator
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import hypothesis
import pytest

from tests.one_clock import VARIABLE, OneClock, keep

_BY_ADDRESS = ("bind", "connect", "connect_ex")  # socket.socket methods whose first argument is the address
_BY_LAST_ADDRESS = ("sendto", "sendmsg")  # … whose last argument is; sendmsg has it fourth, or not at all
_LOOKUPS = ("getaddrinfo", "gethostbyname", "gethostbyname_ex", "gethostbyaddr")
_OF_THE_USER = ("CLOUDACCEL_", "AWS_", "AZURE_", "ARM_", "GOOGLE_", "CLOUDSDK_", "OCI_", "RUNPOD_", "VAST_", "XDG_")
_OF_THE_TERMINAL = ("NO_COLOR", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "COLUMNS", "LINES")
_HOME = {  # variable → folder below the test's home; Linux, macOS and Windows
    "HOME": "",
    "USERPROFILE": "",
    "APPDATA": "AppData/Roaming",
    "LOCALAPPDATA": "AppData/Local",
    "XDG_CACHE_HOME": ".cache",
    "XDG_CONFIG_HOME": ".config",
    "XDG_DATA_HOME": ".local/share",
    "XDG_STATE_HOME": ".local/state",
}

# Each example takes as long as it takes, to be made too (the machine may be busy). In CI the examples are the same in
# every run, so a red gate is never luck; at home they are new each time, and failures are kept in .hypothesis/.
hypothesis.settings.register_profile(
    "ci", deadline=None, derandomize=bool(os.environ.get("CI")), print_blob=True,
    suppress_health_check=(hypothesis.HealthCheck.too_slow,),
)  # fmt: skip
hypothesis.settings.load_profile("ci")


class SocketGate:
    """Which addresses a socket of this process may use now."""

    loopback = False

    def check(self, host: object) -> None:
        """Fail the test unless `host` is loopback and the test may use that.

        The failure is no ordinary exception, so code under test that catches ``Exception`` cannot hide it.
        """
        if not _is_loopback(host):
            pytest.fail(
                f"a test tried to reach {host!r}. Use a fake or a recorded payload: tests stay on this machine."
            )
        if not self.loopback:
            pytest.fail(f"a test opened a socket to {host!r}. Mark it @pytest.mark.network if it needs loopback.")


def _is_loopback(host: object) -> bool:
    if host in ("localhost", b"localhost"):
        return True
    try:
        return ipaddress.ip_address(host.decode() if isinstance(host, bytes) else str(host)).is_loopback
    except ValueError:
        return False


def _guarded_method(gate: SocketGate, original: Callable[..., Any], *, last: bool) -> Callable[..., Any]:
    def method(self: socket.socket, *args: Any) -> Any:
        address: Any = args[-1] if last else args[0]
        if self.family in (socket.AF_INET, socket.AF_INET6) and isinstance(address, tuple):
            gate.check(cast(tuple[object, ...], address)[0])
        return original(self, *args)

    return method


def _guarded_lookup(gate: SocketGate, original: Callable[..., Any]) -> Callable[..., Any]:
    def lookup(host: object, *args: Any, **kwargs: Any) -> Any:
        if host not in (None, "", b""):  # no host: "any address of this machine", asked before a bind, which is checked
            gate.check(host)
        return original(host, *args, **kwargs)

    return lookup


_gate = SocketGate()
_undo = pytest.MonkeyPatch()


def pytest_configure() -> None:
    """Close the gate before the first test module is imported."""
    gc.set_threshold(10_000, 10, 10)  # SDKs and fakes hold millions of objects: to look them over took half the time
    import_module("urllib3")  # some versions bind ::1 once when they are imported
    for name in (*_BY_ADDRESS, *_BY_LAST_ADDRESS):
        original = getattr(socket.socket, name, None)  # Windows has no sendmsg
        if original is not None:
            _undo.setattr(socket.socket, name, _guarded_method(_gate, original, last=name in _BY_LAST_ADDRESS))
    for name in _LOOKUPS:
        _undo.setattr(socket, name, _guarded_lookup(_gate, getattr(socket, name)))


def pytest_unconfigure() -> None:
    """Give the process its sockets back."""
    _undo.undo()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give every test an address of its own: of several that share one, pytest-xdist runs one and says nothing.

    schemathesis 4.32 names its tests by their route, which pytest 9.2 leaves out of the address.
    """
    seen: set[str] = set()
    for item in items:
        found: Any = item
        if hasattr(item, "operation_label") and not item.nodeid.endswith(item.name):
            found._id = found._id.with_params(item.name.partition("[")[2].removesuffix("]"))
        if item.nodeid in seen:
            raise pytest.UsageError(f"two tests are called {item.nodeid}; only one of them would run.")
        seen.add(item.nodeid)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Open loopback for a test marked ``network``, its fixtures included."""
    _gate.loopback = item.get_closest_marker("network") is not None
    try:
        return (yield)
    finally:
        _gate.loopback = False


@pytest.fixture(autouse=True, scope="session")
def hears_ctrl_c() -> Generator[None]:
    """This process hears Ctrl-C, and so does what a test starts: a shell starts what runs behind it deaf to it."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    if before is signal.SIG_IGN:
        signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home folder of the test's own; settings and credentials of whoever runs the tests are out of sight."""
    for name in list(os.environ):
        if name.startswith(_OF_THE_USER) or name in _OF_THE_TERMINAL:
            monkeypatch.delenv(name)
    folder = tmp_path_factory.mktemp("home")
    for name, below in _HOME.items():
        monkeypatch.setenv(name, str(folder / below) if below else str(folder))
    return folder


@pytest.fixture(scope="session")
def built_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder that every test may read the bundled catalog from: building it takes a second each time."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def shared_cache(home: Path, built_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bundled catalog is built once for all tests; one that needs an empty cache sets its own."""
    assert home
    monkeypatch.setenv("CLOUDACCEL_CACHE_DIR", str(built_cache))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> OneClock:
    """The clock of the program in this process, and in others that are started as `tests.one_clock.PROGRAM`."""
    file = tmp_path / ".clock"
    monkeypatch.setenv(VARIABLE, str(file))
    found = OneClock(file)
    keep(found, monkeypatch.setattr)
    return found
