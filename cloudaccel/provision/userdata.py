"""What a machine is told at boot: switch yourself off at the deadline, and say on the console how you are.

Nothing secret is in it: whoever may describe the machine may read it.
"""

import json
import re
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any

from cloudaccel.errors import QueryError

# bootcmd runs at every boot, so a restart does not lose the deadline.
_OFF = 'left=$(( ({end} - $(date +%s)) / 60 )); [ "$left" -ge 1 ] || left=1; shutdown -P "+$left" "lease over"'
_QUIET = "systemctl stop unattended-upgrades.service apt-daily.timer apt-daily-upgrade.timer 2>/dev/null || true"
_UNIT = """\
[Unit]
Description=cloudaccel: say on the console how busy the accelerators are

[Service]
ExecStart=/bin/sh /opt/cloudaccel/report.sh "sh /etc/cloudaccel/announced.sh"
Restart=always
RestartSec=30

[Install]
WantedBy=multi-user.target
"""
_PUBLIC_KEY = re.compile(
    r"(ssh-(ed25519|rsa)|ecdsa-sha2-nistp(256|384|521)|sk-\S+@openssh\.com) [A-Za-z0-9+/=]{40,}( .*)?"
)


def user_data(run: str, deadline: datetime, *, announced: str = "", ssh_key: str | None = None) -> str:
    """cloud-init text of a run; the same arguments give the same bytes, as a replay needs.

    `announced`: shell command that prints something once the cloud has announced that it takes the machine back.
    """
    end = int(deadline.timestamp())
    config: dict[str, Any] = {
        "bootcmd": [["sh", "-c", _OFF.format(end=end)]],
        "package_update": False,
        "package_upgrade": False,
        "write_files": [
            _file("/etc/cloudaccel/run", f"run={run}\ndeadline={end}\n"),
            _file("/etc/cloudaccel/announced.sh", f"{announced or ':'}\n"),
            _file("/opt/cloudaccel/report.sh", _report()),
            _file("/etc/systemd/system/cloudaccel-report.service", _UNIT),
        ],
        "runcmd": [
            ["sh", "-c", _QUIET],
            ["sh", "-c", "systemctl daemon-reload && systemctl enable --now cloudaccel-report.service || true"],
            ["touch", "/run/cloudaccel-ready"],
        ],
    }
    if ssh_key:
        config["ssh_authorized_keys"] = [ssh_key]
    return f"#cloud-config\n# Made by cloudaccel; JSON is YAML.\n{json.dumps(config, indent=1)}\n"


def public_key(text: str, what: str) -> str:
    """The one public SSH key in `text`.

    Raises
    ------
    QueryError
        If it is no public key; a private one above all, which would be readable by the whole account.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if any("PRIVATE KEY" in line for line in lines):
        raise QueryError(f"{what} is a private key, which stays where it is. Name its public half, such as {what}.pub.")
    if len(lines) != 1 or not _PUBLIC_KEY.fullmatch(lines[0]):
        raise QueryError(f"{what} is no public SSH key: one line such as 'ssh-ed25519 AAAA… name' is wanted.")
    return lines[0]


@cache
def _report() -> str:
    return files("cloudaccel.provision").joinpath("data/report.sh").read_text(encoding="utf-8")


def _file(path: str, content: str) -> dict[str, str]:
    return {"path": path, "permissions": "0644", "content": content}
