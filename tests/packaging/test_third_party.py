"""A stranger's provider, written by the guide alone: installed by its entry point, judged by the suite, then used."""

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Mapping
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

from cloudaccel.testing.cloud import FakeCloud

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "docs/examples/acme-prices"
MOST_LINES = 200  # of the package, its tests and its pyproject.toml

pytestmark = [pytest.mark.network, pytest.mark.slow]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment that sees this one's packages, and has the stranger's installed."""
    home = tmp_path_factory.mktemp("stranger")
    venv.create(home / "env", with_pip=False)
    (packages,) = (home / "env").glob("[Ll]ib/**/site-packages")
    here = [path for path in sys.path if path.endswith("site-packages")]
    lines = (f"import site; site.addsitedir({path!r})" for path in here)
    (packages / "here.pth").write_text("\n".join(lines), encoding="utf-8")
    found = home / "env" / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    source = shutil.copytree(EXAMPLE, home / "acme-prices", ignore=shutil.ignore_patterns("__pycache__"))
    words = ["--python", str(found), "install", "-q", "--no-index", "--no-deps", "--no-build-isolation", str(source)]
    subprocess.run([sys.executable, "-m", "pip", *words], check=True, timeout=300)
    return found


def ask(python: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a module of the stranger's environment."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CLOUDACCEL_", "PYTEST_"))}
    return subprocess.run(
        [str(python), "-m", *words], capture_output=True, text=True, timeout=300, env={**kept, **env}, check=False
    )


def answers() -> Any:
    """The module of the example's tests: what its fake answers."""
    sys.path.insert(0, str(EXAMPLE))
    try:
        spec = spec_from_file_location("acme_example", EXAMPLE / "test_acme_prices.py")
        assert spec is not None
        assert spec.loader is not None
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    finally:
        sys.path.remove(str(EXAMPLE))


def test_a_simple_price_api_takes_few_lines() -> None:
    files = ("acme_prices.py", "test_acme_prices.py", "pyproject.toml")
    assert sum(len((EXAMPLE / name).read_text(encoding="utf-8").splitlines()) for name in files) < MOST_LINES


def test_it_passes_the_suite_that_ours_pass(python: Path) -> None:
    tests = python.parents[2] / "acme-prices/test_acme_prices.py"
    done = ask(python, "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore", str(tests))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "failed" not in done.stdout


def test_its_prices_are_read_where_it_is_allowed_and_rank_beside_ours(python: Path, tmp_path: Path) -> None:
    acme = answers()
    with FakeCloud() as cloud:
        cloud.serve("/mirror", acme.route)
        env: Mapping[str, str] = {
            "CLOUDACCEL_MIRRORS": f"{acme.AcmePrices.sources[0]}={cloud.url}/mirror",
            "CLOUDACCEL_CACHE_DIR": str(tmp_path), acme.KEY: "a-token",
        }  # fmt: skip
        refused = ask(python, "cloudaccel", "refresh", "acme", **env)
        assert (refused.returncode, "CLOUDACCEL_PROVIDERS=acme" in refused.stderr) == (5, True)
        allowed = {**env, "CLOUDACCEL_PROVIDERS": "acme"}
        taken = ask(python, "cloudaccel", "refresh", "acme", **allowed)
        assert taken.returncode == 0, taken.stderr
        assert "acme: no table knows the accelerator of X900" in taken.stderr
    shown = ask(python, "cloudaccel", "quote", "H100:8", "--max-price", "2.1", **allowed)
    assert shown.returncode == 0, shown.stderr
    assert any(line.split()[1:4] == ["acme", "north", "a8"] for line in shown.stdout.splitlines())
