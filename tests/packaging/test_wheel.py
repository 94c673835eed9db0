"""The wheel, as a user gets it: what is in it, and that it answers from a folder that is not the checkout."""

import configparser
import csv
import hashlib
import io
import json
import re
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from collections.abc import Iterator
from email.parser import Parser
from pathlib import Path
from typing import Any

import pytest

from tests.support import PATIENCE_S

ROOT = Path(__file__).parents[2]
BUNDLED = "cloudaccel/_bundled/"
DATA_SUFFIXES = {".csv", ".mako", ".json", ".yaml", ".sql", ".html", ".css", ".js", ".svg", ".sh", ".typed", ".j2"}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, built with the build back end that is installed here: no network."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "-w",
        folder,
        ROOT,
    ]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    (path,) = folder.iterdir()
    return path


@pytest.fixture
def archive(wheel: Path) -> Iterator[zipfile.ZipFile]:
    """The wheel, open for reading."""
    with zipfile.ZipFile(wheel) as opened:
        yield opened


def _project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def _packages() -> set[str]:
    providers = {path.parent.name for path in (ROOT / "providers").glob("*/__init__.py")}
    return {"cloudaccel", *providers}


def _dist_info(archive: zipfile.ZipFile) -> str:
    (folder,) = {name.split("/")[0] for name in archive.namelist() if ".dist-info/" in name}
    return folder


def test_only_our_packages_are_at_the_top(archive: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in archive.namelist()}
    assert tops == {*_packages(), f"cloudaccel-{_project()['version']}.dist-info"}
    assert all(re.fullmatch(r"cloudaccel(_[a-z0-9]+)?", name) for name in _packages())


def test_it_is_pure_python_for_every_system(wheel: Path) -> None:
    assert wheel.name == f"cloudaccel-{_project()['version']}-py3-none-any.whl"


def test_every_module_and_data_file_of_the_checkout_is_there_and_nothing_else(archive: zipfile.ZipFile) -> None:
    def files(root: Path, prefix: str = "") -> set[str]:
        kept = (path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
        return {prefix + path.relative_to(root).as_posix() for path in kept}

    expected = files(ROOT / "cloudaccel", "cloudaccel/")
    for package in _packages() - {"cloudaccel"}:
        expected |= files(ROOT / "providers" / package, package + "/")
    expected |= {
        BUNDLED + name for name in files(ROOT / "pricing_cache") if not ("/" not in name and name.endswith(".md"))
    }
    assert {name for name in archive.namelist() if ".dist-info/" not in name} == expected


def test_nothing_in_it_is_a_stray_file(archive: zipfile.ZipFile) -> None:
    names = [name for name in archive.namelist() if ".dist-info/" not in name]
    assert [name for name in names if Path(name).suffix not in {".py", *DATA_SUFFIXES}] == []


def test_types_are_announced(archive: zipfile.ZipFile) -> None:
    assert [p for p in sorted(_packages()) if f"{p}/py.typed" not in archive.namelist()] == []


def test_command_is_installed(archive: zipfile.ZipFile) -> None:
    parsed = configparser.ConfigParser()
    parsed.read_string(archive.read(f"{_dist_info(archive)}/entry_points.txt").decode())
    assert dict(parsed["console_scripts"]) == {"cloudaccel": "cloudaccel.cli:main"}


def test_licence_and_notice_travel_with_it(archive: zipfile.ZipFile) -> None:
    for name in ("LICENSE", "NOTICE"):
        assert archive.read(f"{_dist_info(archive)}/licenses/{name}") == (ROOT / name).read_bytes()
    metadata = Parser().parsestr(archive.read(f"{_dist_info(archive)}/METADATA").decode())
    assert metadata["License-Expression"] == "Apache-2.0"


def test_looking_at_prices_needs_next_to_nothing(archive: zipfile.ZipFile) -> None:
    metadata = Parser().parsestr(archive.read(f"{_dist_info(archive)}/METADATA").decode())
    required = [r for r in metadata.get_all("Requires-Dist", []) if "extra ==" not in r]
    assert [re.split(r"[ <>=!~;\[]", r)[0] for r in required] == ["platformdirs", "shtab"]


def test_snapshot_is_whole(archive: zipfile.ZipFile) -> None:
    manifest = json.loads(archive.read(BUNDLED + "manifest.json"))
    bundled = {name.removeprefix(BUNDLED) for name in archive.namelist() if name.startswith(BUNDLED)}
    assert bundled == {"manifest.json", *(entry["path"] for entry in manifest["files"])}
    for entry in manifest["files"]:
        content = archive.read(BUNDLED + entry["path"])
        assert hashlib.sha256(content).hexdigest() == entry["sha256"], entry["path"]
        assert sum(1 for _ in csv.reader(io.StringIO(content.decode("utf-8")))) - 1 == entry["rows"], entry["path"]


@pytest.fixture(scope="session")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command in a fresh environment with the wheel and what it requires, no extras."""
    environment = tmp_path_factory.mktemp("bare") / "venv"
    venv.create(environment, with_pip=False, symlinks=sys.platform != "win32")
    scripts = environment / ("Scripts" if sys.platform == "win32" else "bin")
    into = ["--python", str(scripts / "python"), "install", "-q", "--no-index", "--no-deps", str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", *into], check=True, capture_output=True)
    _lend_dependencies(environment)
    return scripts / "cloudaccel"


def test_installed_wheel_answers_away_from_the_checkout(
    bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)

    def run(*command: str | Path) -> str:
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    where = run(bare.with_name("python"), "-c", "import cloudaccel; print(cloudaccel.__file__)")
    assert str(ROOT) not in where
    assert _project()["version"] in run(bare, "--version")
    answer = json.loads(run(bare, "--offline", "quote", "H100:8", "--limit", "3", "--json"))
    assert len(answer["offers"]) == 3


@pytest.mark.parametrize(
    "words",
    [
        [
            "plan",
            "--task",
            "finetune",
            "--method",
            "lora",
            "--model",
            "llama-3-8b",
            "--tokens",
            "1e6",
            "--deadline",
            "9h",
        ],
        ["plan", "job.yaml"],
        ["compare", "--demand", "1M-tokens/month", "--option", "api:price=1/Mtok", "--png", "x.png"],
        ["roadmap", "x.yaml"],
        ["provision", "list"],
        ["provision", "up", "H100:1"],
        ["refresh"],
        ["refresh", "--schedule", "24h"],
        ["prices", "import", "--focus", "x.csv"],
        ["policy", "list"],
        ["serve"],
        ["serve", "--refresh", "6h", "--watch", "1m", "--alerts"],
        ["alert", "list"],
        ["alert", "add", "--on", "runs", "--to", "https://hooks.example.org/x"],
        ["token", "list"],
        ["mcp"],
        ["advise"],
        ["doctor"],
    ],
    ids=" ".join,
)
def test_without_extras_a_verb_answers_or_says_what_to_install(
    words: list[str], bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    for name in ("job.yaml", "x.yaml", "x.csv"):
        (tmp_path / name).write_text("task: finetune\n", encoding="utf-8")
    done = subprocess.run([bare, *words], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    assert "Traceback" not in done.stderr
    assert "ModuleNotFoundError" not in done.stderr
    if done.returncode:
        assert done.returncode == 2
        assert re.search(r"^error: .*pip install '?(cloudaccel\[\w+\]|[\w-]+)'?", done.stderr, re.MULTILINE), (
            done.stderr
        )


def test_the_client_of_a_service_needs_no_extra(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    code = "from cloudaccel.client import Client; Client('https://prices.example.org').close()"
    subprocess.run([bare.with_name("python"), "-c", code], check=True, timeout=PATIENCE_S)


def _lend_dependencies(environment: Path) -> None:
    """Put `platformdirs`, the one run-time dependency, into the environment without asking an index for it."""
    import platformdirs

    (site,) = environment.glob("Lib/site-packages" if sys.platform == "win32" else "lib/python*/site-packages")
    shutil.copytree(Path(platformdirs.__file__).parent, site / "platformdirs")
