"""The rules of the house that no other tool holds: names, sizes, versions, documents, imports between the source roots.

`lint-imports` holds the floors inside the core (pyproject.toml, tool.importlinter).
"""

import ast
import re
import shutil
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

import cloudaccel

ROOT = Path(__file__).parents[2]
CORE = sorted((ROOT / "cloudaccel").rglob("*.py"))
PROVIDERS = sorted((ROOT / "providers").rglob("*.py"))
DOCUMENTS = sorted([*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "CHANGELOG.md"])
DECISIONS = sorted((ROOT / "docs/adr").glob("*.md"))

# Names of clouds, as words. Left out where the name is a common word or a Python keyword (lambda, vast, modal).
CLOUD_NAMES = frozenset(
    re.findall(
        r"\w+",
        """
        akamai alibaba aliyun amazon aws azure cloudrift coreweave crusoe cudo datacrunch denvr digitalocean ec2
        exoscale fluidstack gce gcp google hetzner hotaisle huawei hyperstack ibm infomaniak jarvislabs lambdalabs
        leafcloud linode microsoft nebius nebul oci oracle ovh ovhcloud paperspace runpod scaleway tencent
        tensordock upcloud vastai verda vultr
        """,
    )
)
# Keyword arguments of argparse whose text a person reads and no code does: an example there may name a cloud.
HELP_TEXTS = ("help", "epilog", "description")
# File below the root → the names it may say, with the reason beside it. An entry that is no longer needed fails.
CLOUD_NAMES_ALLOWED: dict[str, set[str]] = {}
# "file:function" → why it may be longer than MAX_FUNCTION_LINES.
LONG_FUNCTIONS: dict[str, str] = {}
MAX_FUNCTION_LINES = 60

PROVIDERS_MAY_IMPORT = ("cloudaccel.protocols", "cloudaccel.model", "cloudaccel.errors", "cloudaccel.facts")
ADR_HEADINGS = ["Context", "Decision", "Alternatives", "Consequences"]


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


# -- no cloud's name in the core ---------------------------------------------------------------------------------------


def _said(tree: ast.AST) -> Iterator[str]:
    """Every identifier, module name and string of the code; not comments, docstrings or the help texts of options."""
    prose = {id(constant) for node in ast.walk(tree) if _is_prose(node) for constant in ast.walk(node)}
    for node in ast.walk(tree):
        if id(node) in prose and isinstance(node, ast.Constant):
            continue
        fields: list[Any] = [value for _, value in ast.iter_fields(node)]
        for value in (v for field in fields for v in (cast(list[Any], field) if isinstance(field, list) else [field])):
            if isinstance(value, str | bytes):
                yield value if isinstance(value, str) else value.decode("latin-1")


def _is_prose(node: ast.AST) -> bool:
    idle_string = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return idle_string or (isinstance(node, ast.keyword) and node.arg in HELP_TEXTS)


def _cloud_names(tree: ast.AST) -> set[str]:
    words = {word for text in _said(tree) for word in re.findall(r"[a-z0-9]+", _split_camel(text).lower())}
    return words & CLOUD_NAMES


def _split_camel(text: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", text)


def test_core_knows_no_cloud_by_name() -> None:
    found = {_name(path): names for path in CORE if (names := _cloud_names(_parse(path)))}
    assert found == CLOUD_NAMES_ALLOWED, "names of clouds belong in data files, provider packages and export's maps"


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("if provider == 'aws': pass", {"aws"}),
        ("aws_prices = 1", {"aws"}),
        ("class GoogleTpu: pass", {"google"}),
        ("f(azure=1)", {"azure"}),
        ("from cloudaccel_oci import prices", {"oci"}),
        ("x = f'{y}-us-gcp'", {"gcp"}),
        ("x = b'runpod'", {"runpod"}),
        ("def f(): 'such as aws'", set[str]()),
        ("x = 1  # aws rounds up", set[str]()),
        ("add('--provider', help='such as aws')", set[str]()),
        ("add('--provider', choices=['aws'], help='such as gcp')", {"aws"}),
        ("laws = 'society, flaws, associate'", set[str]()),
    ],
)
def test_cloud_names_are_found_as_whole_words_in_code(code: str, names: set[str]) -> None:
    assert _cloud_names(ast.parse(code)) == names


# -- imports between the two source roots ------------------------------------------------------------------------------


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            # "from cloudaccel import facts" imports cloudaccel.facts; for any other form the module says enough.
            module = node.module or ""
            yield from (f"{module}.{a.name}" for a in node.names) if module == "cloudaccel" else (module,)


def _within(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(package + ".") for package in packages)


def test_core_imports_no_provider() -> None:
    wrong = {(_name(p), m) for p in CORE for m in _imports(_parse(p)) if m.startswith(("cloudaccel_", "providers"))}
    assert not wrong, "the core finds providers through its registry"


def test_providers_import_only_the_ground_floor_and_never_each_other() -> None:
    wrong: set[tuple[str, str]] = set()
    for path in PROVIDERS:
        own = path.relative_to(ROOT / "providers").parts[0]
        for module in _imports(_parse(path)):
            ours = module.split(".")[0] in ("cloudaccel", "providers") or module.startswith("cloudaccel_")
            base = ("cloudaccel.testing",) if path.name == "fake.py" else ()  # a fake is no part of its adapter
            if ours and not _within(module, (own, *PROVIDERS_MAY_IMPORT, *base)):
                wrong.add((_name(path), module))
    assert not wrong, f"a provider may import {', '.join(PROVIDERS_MAY_IMPORT)} and itself"


# -- words and sizes ---------------------------------------------------------------------------------------------------


def test_every_module_says_what_it_is_for() -> None:
    assert [_name(path) for path in (*CORE, *PROVIDERS) if not ast.get_docstring(_parse(path))] == []


def _length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from ``def`` to the end, less the docstring."""
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    if ast.get_docstring(function) is None:
        return lines
    docstring = function.body[0]
    return lines - ((docstring.end_lineno or docstring.lineno) - docstring.lineno + 1)


def test_functions_stay_short() -> None:
    long = {
        f"{_name(path)}:{node.name}"
        for path in (*CORE, *PROVIDERS)
        for node in ast.walk(_parse(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and _length(node) > MAX_FUNCTION_LINES
    }
    assert long == set(LONG_FUNCTIONS), f"more than {MAX_FUNCTION_LINES} lines: look for the second idea in it"


# -- packaging ---------------------------------------------------------------------------------------------------------


def _project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_version_is_said_once() -> None:
    assert _project()["version"] == cloudaccel.__version__


def test_constraints_are_plain_pins_and_cover_what_the_project_asks_for() -> None:
    lines = (ROOT / ".ci/constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert [pin for pin in pins if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+", pin)] == []

    project = _project()
    wanted = [*project["dependencies"], *(r for extra in project["optional-dependencies"].values() for r in extra)]
    names = {_canonical(requirement) for requirement in wanted} - {"cloudaccel"}
    assert names - {_canonical(pin) for pin in pins} == set()


def _canonical(requirement: str) -> str:
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    return re.sub(r"[-_.]+", "-", found.group() if found else requirement).lower()


@pytest.mark.skipif(not (ROOT / ".git").exists() or not shutil.which("git"), reason="needs a git checkout")
def test_no_file_names_a_package_registry() -> None:
    # The gate must run behind any mirror, so a lock file or script that records an address is a bug. Cut in pieces, so
    # that this file does not name them either.
    pieces = ("py pi.org", "python hosted.org", "npm js.org", "npm js.com", "deb .debian.org", "yarn pkg.com")
    hosts = [piece.replace(" ", "") for piece in pieces]
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0")
    pattern = re.compile("|".join(map(re.escape, hosts)).encode(), re.IGNORECASE)
    files = [ROOT / name for name in listed if name and (ROOT / name).is_file()]
    assert files
    assert [_name(path) for path in files if pattern.search(path.read_bytes())] == []


# -- documents ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", DECISIONS, ids=lambda path: path.stem)
def test_decision_has_its_four_headings_and_a_date(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ADR_HEADINGS
    assert re.search(r"^# \d+\. \S", text)
    assert re.search(r"^(Accepted|Superseded by \S+), \d{4}-\d{2}-\d{2}\b", text, re.MULTILINE)


def test_decisions_are_numbered_without_gaps() -> None:
    numbers = [int(path.name.split("-")[0]) for path in DECISIONS]
    assert numbers
    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize("path", DOCUMENTS, ids=_name)
def test_links_between_documents_lead_somewhere(path: Path) -> None:
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    links = [link.split("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    assert [link for link in links if link and not (path.parent / link).exists()] == []


# -- what conftest.py promises -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "192.0.2.1", "localhost"])
def test_sockets_are_refused(host: str) -> None:
    with pytest.raises(pytest.fail.Exception, match=r"opened a socket|tried to reach"):
        socket.create_connection((host, 9), timeout=0.1)


@pytest.mark.network
def test_marked_test_may_use_loopback_and_nothing_else() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname(), timeout=5):
        pass
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram:
        with pytest.raises(pytest.fail.Exception, match=r"reach '192\.0\.2\.1'"):
            datagram.sendto(b"", ("192.0.2.1", 9))
        with pytest.raises(pytest.fail.Exception, match=r"reach '0\.0\.0\.0'"):
            datagram.bind(("0.0.0.0", 0))  # noqa: S104  # refused: it would listen to the whole network
    with pytest.raises(pytest.fail.Exception, match=r"reach 'example\.com'"):
        socket.getaddrinfo("example.com", 443)


@pytest.mark.skipif(sys.platform == "win32", reason="no such sockets on Windows")
def test_sockets_inside_the_machine_are_free() -> None:
    one, other = socket.socketpair()
    with one, other:
        one.sendall(b"x")
        assert other.recv(1) == b"x"


def test_home_is_empty_and_the_tests_own(home: Path) -> None:
    assert Path.home() == home
    assert list(home.iterdir()) == []
