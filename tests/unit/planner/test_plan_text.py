"""What a plan says to people."""

import pytest

from cloudaccel.cli import main

SERVE = ["plan", "--task", "serve", "--model", "llama-3.1-8b", "--requests-per-s", "1", "--lock", "-"]
TRAIN = ["plan", "--task", "finetune", "--method", "lora", "--model", "llama-3.1-8b", "--tokens", "1e6", "--lock", "-"]


@pytest.mark.parametrize(("job", "saves"), [(SERVE, False), (TRAIN, True)])
def test_only_training_needs_memory_at_a_checkpoint(
    job: list[str], saves: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(job) == 0
    needs = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("Needs"))
    assert ("at checkpoint" in needs) is saves
