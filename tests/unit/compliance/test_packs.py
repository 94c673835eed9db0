"""Packs are read strictly, and those that ship are what their sources say."""

import json
from pathlib import Path

import pytest

from cloudaccel.compliance import Circumstances, Placement, evaluate, load_packs, shipped_packs, yaml12
from cloudaccel.compliance.compiling import compile_packs
from cloudaccel.compliance.schema import CHECKS
from cloudaccel.compliance.shipped import ALWAYS_ON, COMPILED, MANIFEST
from cloudaccel.errors import ConfigError, QueryError, UnknownName

PACK = """\
id: mine
title: Mine
version: "1"
status: organisation
kind: organisation
jurisdiction: organisation
as_of: 2026-11-25
review_by: 2027-05-25
sources: [board decision]
rules:
- {id: mine/place, effect: require, cite: board decision, check: location, roles: [processing], in: [NO, EU]}
"""


def written(folder: Path, text: str) -> str:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_compiled_packs_are_what_their_sources_say() -> None:
    compiled, manifest = compile_packs()
    assert COMPILED.read_text(encoding="utf-8") == compiled, "run python -m cloudaccel.compliance.compiling"
    assert MANIFEST.read_text(encoding="utf-8") == manifest
    listed = json.loads(manifest)["packs"]
    assert {pack.id: pack.digest for pack in shipped_packs().values()} == {k: v["digest"] for k, v in listed.items()}


def test_every_shipped_pack_cites_and_the_always_on_packs_are_marked() -> None:
    packs = shipped_packs()
    assert len(packs) >= 22
    assert {pack.id for pack in packs.values() if pack.always_on} == set(ALWAYS_ON)
    for pack in packs.values():
        assert pack.sources, pack.id
        assert all(rule.cite and rule.id.count("/") == 1 for rule in pack.rules), pack.id


def test_a_user_pack_is_read_and_no_is_norway(tmp_path: Path) -> None:
    (pack,) = load_packs([written(tmp_path, PACK)])
    place = Placement(provider=None, partition=None, region=None, country="NO")
    assert evaluate([pack], place, Circumstances()).state == "compliant"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("title: Mine", "title: Mine\ncolour: red", "unknown key colour"),
        ("roles: [processing]", "roles: [processing], where: EU", "unknown key where"),
        ("roles: [processing]", "roles: [kitchen]", "kitchen is none of"),
        ("in: [NO, EU]", "in: [Norway]", "Norway is none of"),
        ("in: [NO, EU]", "in: NO", "a list is wanted"),
        ("in: [NO, EU]", "in: [NO], not_in: [US]", "one of in and not_in"),
        ('version: "1"', "version: 1", "a text is wanted"),
        ("cite: board decision, ", "", "without cite"),
        ("check: location", "check: weather", "weather is none of"),
        ("as_of: 2026-11-25", "as_of: yesterday", "no date"),
        ("effect: require", "effect: forbid", "forbid is none of"),
        ("id: mine\n", "id: mine\nid: other\n", "there twice"),
        ("title: Mine", "title: &x Mine", "anchors"),
        ("title: Mine", "title: !!python/name:os.system x", "tags"),
        ("rules:\n", "rules: [\n", "not valid YAML"),
        ("status: organisation", "status: in_force\nextends: [eu-nothing]", "no pack is called"),
        (
            "check: location, roles: [processing], in: [NO, EU]",
            "check: not, of: [{check: contract, need: x}]",
            "cannot stand over",
        ),
    ],
)
def test_what_is_not_understood_is_refused(tmp_path: Path, old: str, new: str, says: str) -> None:
    assert old in PACK
    with pytest.raises((ConfigError, UnknownName), match=says):
        load_packs([written(tmp_path, PACK.replace(old, new, 1))])


def test_a_draft_is_refused_without_its_status_being_allowed() -> None:
    with pytest.raises(QueryError, match="--allow-status draft"):
        load_packs(["eu-eucs"])
    assert load_packs(["eu-eucs"], allow_status=("draft",))[0].status == "draft"


def test_extends_brings_the_other_pack_and_only_a_reading_may_be_replaced(tmp_path: Path) -> None:
    packs = load_packs([written(tmp_path, PACK.replace("rules:", "extends: [eu-gdpr]\nrules:"))])
    assert [pack.id for pack in packs] == ["mine", "eu-gdpr"]
    place = Placement(provider=None, partition=None, region=None, country="NO")
    for replaced, fine in (("eu-gdpr/ch5", True), ("eu-gdpr/art28", False)):
        text = PACK.replace("rules:", "extends: [eu-gdpr]\nrules:").replace(
            "check: location", f"replaces: {replaced}, check: location"
        )
        packs = load_packs([written(tmp_path, text)])
        if fine:
            assert "eu-gdpr/ch5" not in {f.rule for f in evaluate(packs, place, Circumstances()).findings}
        else:
            with pytest.raises(ConfigError, match="leaves no room"):
                evaluate(packs, place, Circumstances())


@pytest.mark.parametrize(
    ("text", "value"),
    [("NO", "NO"), ("yes", "yes"), ("on", "on"), ("1.0e25", 1e25), ("1e25", 1e25), ("012", 12),
     ("2026-11-25", "2026-11-25"),
     ("true", True), ("~", None), ("1:30", "1:30"), ("3A090", "3A090"), ("0x1f", "0x1f"), ("1_000", "1_000")],
)  # fmt: skip
def test_scalars_are_typed_as_yaml_1_2_does(text: str, value: object) -> None:
    found = yaml12.scalar(text)
    assert found == value
    assert type(found) is type(value)


def test_the_pack_of_the_reference_can_be_read_and_every_check_is_described(tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "reference" / "pack-format.md").read_text(encoding="utf-8")
    pack, extended = load_packs([written(tmp_path, page.partition("```yaml\n")[2].partition("```")[0])])
    assert (pack.id, extended.id) == ("our-rules", "eu-gdpr")
    assert [name for name in CHECKS if f"`{name}`" not in page] == []
