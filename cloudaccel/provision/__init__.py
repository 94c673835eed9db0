"""Starting and ending machines: journal first, failover inside the given list, and "gone" only with proof.

`launch.up` starts a run, `teardown.down` ends it, `reap.reap` finds what nobody ended; `journal.Journal` remembers.
"""
