"""Writes docs/reference/job.md from the table of keys: ``python -m tests.docs.job``."""

import sys
from collections.abc import Iterator
from pathlib import Path

from cloudaccel.model.workload import METHODS, PRECISIONS, TASKS
from cloudaccel.workloads.job_keys import JOB_KEYS

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "job.md"
_HEAD = """\
# The job file

`job.yaml` (or `.json`) says what is to be done; `cloudaccel plan job.yaml` answers what to rent for it. Each line
is a key and its value. The same keys are flags (`--tokens 200e6`), which go over the file, and the keys of the
mapping that `plan()` takes in Python and `POST /v1/plan` over HTTP. `shape` and `policy` have no flag. A key that
is not in this list is refused, as are a key that is there twice and a value that cannot be read: nothing is passed
over. YAML is read with every value as text, so `NO` stays Norway.

```yaml
task: finetune
method: lora
model: llama-3-70b
tokens: 200e6
deadline: 24h
budget: 300 USD
policy: {residency: EU}
```

Every job needs `task`, a model (one of `model`, `shape`, `params`) and, unless it serves, `tokens`.

This page is written by `python -m tests.docs.job`.

| key | meaning | such as |
|---|---|---|
"""


def page() -> str:
    """The whole page."""
    return _HEAD + "\n".join(_rows()) + "\n"


def _rows() -> Iterator[str]:
    for key, (meaning, example) in JOB_KEYS.items():
        yield f"| `{key}` | {meaning} | `{example}` |"
    yield ""
    for name, allowed in (("task", TASKS), ("method", METHODS), ("dtype", PRECISIONS)):
        yield f"Values of `{name}`: {', '.join(f'`{value}`' for value in allowed)}.  "


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    sys.stdout.write(f"{PAGE} written\n")
