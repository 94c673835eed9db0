"""What a machine is told at boot: switch yourself off at the deadline, and leave a mark that you are up.

Nothing secret is in it: whoever may describe the machine may read it.
"""

from datetime import datetime

_TEXT = """\
#cloud-config
# Made by cloudaccel. bootcmd runs at every boot, so a restart does not lose the deadline.
bootcmd:
  - - sh
    - -c
    - 'left=$(( ({end} - $(date +%s)) / 60 )); [ "$left" -ge 1 ] || left=1; shutdown -P "+$left" "lease over"'
package_update: false
package_upgrade: false
write_files:
  - path: /etc/cloudaccel/run
    permissions: '0644'
    content: |
      run={run}
      deadline={end}
runcmd:
  - [sh, -c, 'systemctl stop unattended-upgrades.service apt-daily.timer apt-daily-upgrade.timer 2>/dev/null || true']
  - [sh, -c, 'touch /run/cloudaccel-ready']
"""


def user_data(run: str, deadline: datetime) -> str:
    """cloud-init text of a run; the same arguments give the same bytes, as a replay needs."""
    return _TEXT.format(run=run, end=int(deadline.timestamp()))
