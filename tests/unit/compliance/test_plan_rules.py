"""A plan is judged by the packs of its job, from a file as by flags."""

from cloudaccel import plan
from cloudaccel.api.judging import Rules

JOB = {"task": "finetune", "model": "llama-3-8b", "method": "lora", "tokens": "50e6"}


def test_packs_of_the_job_are_obeyed_as_those_of_the_flags() -> None:
    by_job = plan({**JOB, "policy": {"packs": ["org-us-only"], "headquarters": "DE", "users": "none"}})
    by_flags = plan(JOB, rules=Rules(packs=("org-us-only",), headquarters="DE", users="none"))
    assert "org-us-only" in by_job.pack_digests
    assert by_job.pack_digests == by_flags.pack_digests
    assert by_job.options
    assert [o.offer.id for o in by_job.options] == [o.offer.id for o in by_flags.options]
    assert {o.offer.country for o in by_job.options} == {"US"}


def test_a_flag_adds_to_the_packs_of_the_job_and_lifts_none() -> None:
    found = plan({**JOB, "policy": "org-us-only"}, rules=Rules(packs=("eu-gdpr",)))
    assert {"eu-gdpr", "org-us-only"} <= set(found.pack_digests)
