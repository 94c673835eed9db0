"""What is in deploy/ is valid, starts commands that this version has, and has no rights that it does not need."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from tests.support import PATIENCE_S

yaml: Any = pytest.importorskip("yaml", reason="needs cloudaccel[plan]")
DEPLOY = Path(__file__).parents[2] / "deploy"
MANIFESTS = list(yaml.safe_load_all((DEPLOY / "kubernetes/serve.yaml").read_text(encoding="utf-8")))
UNITS = sorted((DEPLOY / "systemd").glob("cloudaccel-*"))


def _parsed(words: list[str]) -> Any:
    """The command line as this version reads it."""
    return import_module(f"cloudaccel.cli.{words[0]}").parser().parse_args(words[1:])


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda m: m["kind"])
def test_manifest_is_what_kubernetes_takes(manifest: Any) -> None:
    validate: Any = pytest.importorskip("kubernetes_validate")
    validate.validate(manifest, "1.31", strict=True)


def test_pod_has_no_rights_it_does_not_need() -> None:
    pod = next(m for m in MANIFESTS if m["kind"] == "Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    security = container["securityContext"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False
    assert (security["readOnlyRootFilesystem"], security["allowPrivilegeEscalation"]) == (True, False)
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert _parsed(container["args"]).host == "0.0.0.0"  # noqa: S104 - inside its own pod
    for probe in ("livenessProbe", "readinessProbe"):
        assert {"name": "Host", "value": "localhost"} in container[probe]["httpGet"]["httpHeaders"]


def test_compose_listens_on_this_machine_only() -> None:
    body = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
    for service in body["services"].values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    assert _parsed(body["services"]["refresh"]["command"]) is not None
    team = _parsed(body["services"]["team"]["command"])
    assert (team.auth, team.enable_provision) == ("token", True)
    assert body["networks"]["data"] == {"internal": True}  # the database is reached from beside it only


def test_compose_has_nothing_that_its_linter_finds() -> None:
    """But for digests: an image that is made here has none before it is made, and which of PostgreSQL is the user's."""
    done = _linted(["compose-lint", "check", "--fail-on", "high", str(DEPLOY / "compose.yaml")])
    assert done.returncode == 0, done.stdout
    assert set(re.findall(r"\bCL-\d+\b", done.stdout.partition("Details on any rule")[0])) == {"CL-0019"}, done.stdout


def test_image_has_nothing_that_its_linter_finds() -> None:
    done = _linted(["hadolint", str(DEPLOY / "Dockerfile")])
    assert done.returncode == 0, done.stdout


def _linted(command: list[str]) -> "subprocess.CompletedProcess[str]":
    # Beside the packages of this Python, which need not be the first of the PATH.
    beside = [str(Path(place).parents[2] / "bin") for place in sys.path if place.endswith("site-packages")]
    program = shutil.which(command[0], path=os.pathsep.join([*beside, os.environ.get("PATH", "")]))
    if program is None:
        pytest.skip(f"no {command[0]} here (cloudaccel[dev])")
    return subprocess.run([program, *command[1:]], capture_output=True, text=True, check=False, timeout=PATIENCE_S)


@pytest.mark.parametrize("unit", [unit for unit in UNITS if unit.suffix == ".service"], ids=lambda p: p.name)
def test_unit_is_closed(unit: Path) -> None:
    """What systemd itself says of the exposure, 0 (closed) to 10; a service without any of it has 9.6."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze on this machine")
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=35", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stdout[-400:]


def test_image_runs_without_root_and_starts_what_there_is() -> None:
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    last = text[text.rindex("\nFROM") :]
    assert re.search(r"^USER 10001$", last, re.MULTILINE)
    words = re.findall(r'"([^"]+)"', re.findall(r"^CMD (.*)$", last, re.MULTILINE)[-1])
    assert _parsed(words).allow_host == ["localhost"]
    root = DEPLOY.parent
    for line in re.findall(r"^COPY (?!--)(.*)$", text, re.MULTILINE):
        assert all((root / name).exists() for name in line.split()[:-1])


@pytest.mark.parametrize("unit", UNITS, ids=lambda p: p.name)
def test_unit_is_what_systemd_takes(unit: Path, tmp_path: Path) -> None:
    text = unit.read_text(encoding="utf-8")
    for command in re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE):
        assert _parsed(shlex.split(command)[1:]) is not None
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze on this machine")
    for other in UNITS:
        here = other.read_text(encoding="utf-8").replace("/opt/cloudaccel/bin/cloudaccel", "/bin/true")
        (tmp_path / other.name).write_text(
            re.sub(r"^User=.*$", "User=root", here, flags=re.MULTILINE), encoding="utf-8"
        )
    command = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(tmp_path / unit.name)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    said = [line for line in done.stderr.splitlines() if unit.name in line]
    assert done.returncode == 0, done.stderr
    assert not said
