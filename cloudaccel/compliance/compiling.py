"""Compiles the packs that ship, YAML, to hashed JSON that the standard library reads; for whoever changes a pack."""

import hashlib
import json
from pathlib import Path

from cloudaccel.compliance import yaml12
from cloudaccel.compliance.schema import SCHEMA, parse_pack
from cloudaccel.compliance.shipped import COMPILED, FOLDER, MANIFEST


def compile_packs(folder: Path = FOLDER) -> tuple[str, str]:
    """The compiled file and its manifest, as text, from the YAML files of `folder`."""
    groups = yaml12.read((folder / "groups.yaml").read_text(encoding="utf-8"), "groups.yaml")
    sources = sorted(path for path in folder.glob("*.yaml") if path.name != "groups.yaml")
    bodies = [yaml12.read(path.read_text(encoding="utf-8"), path.name) for path in sources]
    packs = [parse_pack(body, path.name, groups) for body, path in zip(bodies, sources, strict=True)]
    compiled = json.dumps({"schema": SCHEMA, "groups": groups, "packs": bodies}, ensure_ascii=False, sort_keys=True)
    compiled += "\n"
    listed = {p.id: {"version": p.version, "digest": p.digest, "review_by": p.review_by} for p in packs}
    manifest = {"schema": SCHEMA, "sha256": hashlib.sha256(compiled.encode()).hexdigest(), "packs": listed}
    return compiled, json.dumps(manifest, indent=1, sort_keys=True) + "\n"


def main() -> None:
    """Compile the packs in place: ``python -m cloudaccel.compliance.compiling``."""
    compiled, manifest = compile_packs()
    COMPILED.write_text(compiled, encoding="utf-8")
    MANIFEST.write_text(manifest, encoding="utf-8")


if __name__ == "__main__":
    main()
