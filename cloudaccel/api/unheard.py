"""Facts for rules where no rules are named: said and heard by nobody, they would look as if they had been judged."""

from collections.abc import Mapping

from cloudaccel.errors import QueryError

FACTS = ("headquarters", "users", "sector", "data_class", "stated")


def refuse_unheard(given: Mapping[str, object]) -> None:
    """Refuse facts of `FACTS` that are given where no rules are named to hear them. Raises `QueryError`."""
    said = [f"--{name.replace('_', '-')}" for name in FACTS if given.get(name)]
    if said:
        raise QueryError(
            f"{', '.join(said)}: no rules are named, so nothing would be judged by it. Name packs with --policy, such "
            "as us-ear,us-ofac (export control, sanctions); 'cloudaccel policy list' has all."
        )


__all__ = ["FACTS", "refuse_unheard"]
