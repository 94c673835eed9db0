"""Export control of accelerators: computed from the hardware table, never a clearance.

Total processing performance (TPP) is the highest product of dense rate (10^12 operations per second) and operand bits.
The hardware table has 16-bit and 8-bit peaks; where one of them is missing, the TPP is only bounded from below.
Source: 15 CFR 774 Supp. 1, ECCN 3A090; the thresholds are data of the pack.
"""

from functools import lru_cache
from typing import NamedTuple

from cloudaccel.compliance.case import Answer, Case, graded, weakest
from cloudaccel.compliance.kleene import Truth
from cloudaccel.compliance.packs import Threshold
from cloudaccel.compliance.placement import NO_ACCELERATOR
from cloudaccel.compliance.tables import Fact
from cloudaccel.errors import UnknownName
from cloudaccel.facts import accelerators
from cloudaccel.model import Accelerator
from cloudaccel.model.verdict import Evidence

LICENCE = "license:bis"
COUNSEL = "counsel:ear-iaas"
_TABLE_GRADE = {"agree": "B", "single": "B"}  # two sources, or one data sheet; all else cannot clear an item
_EMBARGOED = ("D:5",)
_CONTROLLED = ("D:1", "D:4")
_EXEMPT = ("A:5", "A:6")
_MACAU = "MO"


class Range(NamedTuple):
    """A figure known to lie between two bounds; `high` None: no upper bound is known."""

    low: float
    high: float | None


class Classification(NamedTuple):
    """Whether an item is on a control list: T, F, U, why, and the evidence."""

    value: Truth
    why: str
    evidence: tuple[Evidence, ...]


def classify(case: Case, control_list: str) -> Classification:
    """Whether the accelerator of the placement is specified in `control_list`."""
    name = case.placement.accelerator
    if name == NO_ACCELERATOR:
        return Classification("F", "no accelerator", ())
    if name is None:
        return Classification("U", "which accelerator it is, is not known", ())
    try:
        row = accelerators.by_id(name)
    except UnknownName:
        return Classification("U", f"no row for accelerator {name}", ())
    tpp, grade = _tpp(case, row)
    area = case.tables.silicon.get((name, "die_mm2"))
    return _specified(row, tpp, grade, area, case.pack.control_lists[control_list])


@lru_cache(maxsize=4096)
def _specified(
    row: Accelerator, tpp: Range, grade: str, area: Fact | None, paragraphs: tuple[Threshold, ...]
) -> Classification:
    shown = _shown(row, tpp, grade, area)
    density = Range(0.0, None)
    if area is not None:
        mm2 = float(area.value)
        density = Range(tpp.low / mm2, None if tpp.high is None else tpp.high / mm2)
    met = [(p, _meets(p, tpp, density)) for p in paragraphs]
    for paragraph, value in met:
        if value == "T":
            return Classification("T", f"{row.name} is specified in {paragraph.paragraph} (TPP {_text(tpp)})", shown)
    if any(value == "U" for _, value in met):
        return Classification("U", f"whether {row.name} is specified is not decidable (TPP {_text(tpp)})", shown)
    by_area = any(_within(p.tpp_min, p.tpp_below, tpp) != "F" for p in paragraphs)
    grades = [grade, area.grade] if by_area and area else [grade]
    value = "F" if graded(True, weakest(grades)) == "T" else "U"
    doubt = "" if value == "F" else ", by figures that cannot clear it"
    return Classification(value, f"{row.name} is below the thresholds (TPP {_text(tpp)}){doubt}", shown)


def _tpp(case: Case, row: Accelerator) -> tuple[Range, str]:
    wide = [figure * 16 for figure in (row.peak_tflops_bf16_dense, row.peak_tflops_fp16_dense) if figure]
    narrow = [row.peak_tflops_fp8_dense * 8] if row.peak_tflops_fp8_dense else []
    grade = _TABLE_GRADE.get(row.confidence, "C")
    integer = case.tables.silicon.get((row.id, "int8_tops_dense"))
    if integer is not None:
        narrow.append(float(integer.value) * 8)
        grade = weakest((grade, integer.grade))
    low = max((*wide, *narrow), default=0.0)
    return Range(low, low if wide and narrow else None), grade


def _shown(row: Accelerator, tpp: Range, grade: str, area: Fact | None) -> tuple[Evidence, ...]:
    peak = Evidence(fact=f"{row.id} TPP", value=_text(tpp), source=row.source, as_of=row.as_of, grade=grade)
    return (peak, area.evidence(f"{row.id} die, mm2")) if area else (peak,)


def _text(figure: Range) -> str:
    return f"{figure.low:.0f}" if figure.high is not None else f"{figure.low:.0f} or more"


def _meets(p: Threshold, tpp: Range, density: Range) -> Truth:
    values = (_within(p.tpp_min, p.tpp_below, tpp), _within(p.density_min, p.density_below, density))
    return "F" if "F" in values else "U" if "U" in values else "T"


def _within(minimum: float | None, below: float | None, figure: Range) -> Truth:
    """Whether a figure between two bounds lies in [minimum, below)."""
    if minimum is not None and figure.high is not None and figure.high < minimum:
        return "F"
    if below is not None and figure.low >= below:
        return "F"
    sure = (minimum is None or figure.low >= minimum) and (
        below is None or (figure.high is not None and figure.high < below)
    )
    return "T" if sure else "U"


def destination(case: Case, control_list: str) -> Answer:
    """Whether the item may stand where processing is, as far as country groups say; a licence statement settles it."""
    item = classify(case, control_list)
    countries = case.countries("processing")
    licence = case.statement(LICENCE)
    if countries is None:
        clear = item.value == "F" and not _informed(case)
        return Answer("T", item.why, item.evidence) if clear else Answer("U", "the country is not known")
    answers = [_into(case, code, item) for code in countries]
    worst = min(answers, key=lambda a: "FUT".index(a.value), default=Answer("T", "nowhere"))
    return licence if licence is not None and worst.value != "T" else worst


def _into(case: Case, code: str, item: Classification) -> Answer:
    fact = case.tables.country(code, "bis_groups")
    if fact is None:
        return Answer("U", f"country groups of {code} are not known", item.evidence)
    groups = fact.value.split("|")
    evidence = (*item.evidence, fact.evidence(f"{code} country groups"))
    barred = code == _MACAU or any(g in _EMBARGOED for g in groups)
    if item.value == "F":
        return _below(case, code, groups, item, evidence)
    if barred:
        value = "F" if item.value == "T" and graded(False, fact.grade) == "F" else "U"
        return Answer(value, f"{item.why}; {code} is in Country Group D:5 or Macau", evidence, (LICENCE,))
    if any(g in _CONTROLLED for g in groups) and not any(g in _EXEMPT for g in groups):
        why = f"{item.why}; {code} is in Country Group D:1 or D:4: a licence may be needed, exceptions are not read"
        return case.statement(COUNSEL) or Answer("U", why, evidence, (LICENCE, COUNSEL))
    return Answer(graded(True, fact.grade), f"{code} is not in groups D:1, D:4, D:5, and is not Macau", evidence)


def _below(case: Case, code: str, groups: list[str], item: Classification, evidence: tuple[Evidence, ...]) -> Answer:
    informed = _informed(case)
    if informed is None:
        return Answer("T", item.why, evidence)
    named = informed.value.split("|")
    if code not in named and not any(g in named for g in groups):
        return Answer("T", item.why, evidence)
    shown = (*evidence, informed.evidence(f"{case.placement.accelerator} letters"))
    return Answer("U", f"{item.why}, but its maker was told to ask for a licence for {code}", shown, (LICENCE,))


def _informed(case: Case) -> Fact | None:
    return case.tables.silicon.get((case.placement.accelerator or "", "informed"))


def headquarters(case: Case, control_list: str) -> Answer:
    """The test of who acquires: a parent in Country Group D:5 or Macau needs a licence wherever the item stands.

    Renting is no export by itself as the law stands: for such a parent the answer is unknown, never satisfied.
    """
    item = classify(case, control_list)
    if item.value == "F":
        return Answer("T", item.why, item.evidence)
    code = case.circumstances.organisation.headquarters
    if code is None:
        return Answer("U", "country of your ultimate parent is not given", item.evidence, ("headquarters=COUNTRY",))
    fact = case.tables.country(code, "bis_groups")
    if fact is None:
        return Answer("U", f"country groups of {code} are not known", item.evidence)
    told = Evidence(fact="headquarters", value=code, source="stated", as_of=None, grade="user")
    evidence = (*item.evidence, told, fact.evidence(f"{code} country groups"))
    if code != _MACAU and not any(g in _EMBARGOED for g in fact.value.split("|")):
        return Answer(graded(True, fact.grade), f"ultimate parent in {code}, outside D:5 and Macau", evidence)
    return _for_listed_parent(case, item, code, evidence)


def _for_listed_parent(case: Case, item: Classification, code: str, evidence: tuple[Evidence, ...]) -> Answer:
    licence = case.statement(LICENCE)
    if licence is not None:
        return licence
    bought = _bought(case)
    if bought is False:
        opinion = case.statement(COUNSEL)
        why = f"ultimate parent in {code} (D:5 or Macau) rents: whether that needs a licence is contested"
        return opinion or Answer("U", why, evidence, (LICENCE, COUNSEL))
    value: Truth = "F" if bought and item.value == "T" else "U"
    return Answer(value, f"{item.why}; ultimate parent in {code} (D:5 or Macau)", evidence, (LICENCE,))


def _bought(case: Case) -> bool | None:
    said = case.circumstances.workload.acquisition
    return case.owned if said is None else said == "buy"
