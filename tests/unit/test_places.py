"""Providers, partitions, regions, zones and countries: the tables are sound, and names resolve to what they mean."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloudaccel.errors import ConfigError, QueryError, UnknownName
from cloudaccel.facts import loader, places
from cloudaccel.facts.loader import read_table

# fmt: off
EU_MEMBERS = {
    "AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU", "IE", "IT", "LT", "LU",
    "LV", "MT", "NL", "PL", "PT", "RO", "SE", "SI", "SK",
}
# fmt: on
# Åland, and the outermost regions that have a code of their own.
EU_TERRITORIES = {"AX", "GF", "GP", "MF", "MQ", "RE", "YT"}
KINDS = {"hyperscaler", "specialised", "marketplace", "serverless", "owned"}
TABLES = ("providers.csv", "partitions.csv", "places.csv", "zones.csv", "countries.csv")


# -- the tables --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", TABLES)
def test_every_row_has_a_source_and_a_day(table: str) -> None:
    rows = list(read_table(table))
    assert rows
    assert [row for row in rows if not row["source"] or not re.fullmatch(r"\d{4}-\d{2}-\d{2}", row["as_of"])] == []


@pytest.mark.parametrize("table", TABLES)
def test_no_cell_says_unknown_in_words_or_has_stray_blanks(table: str) -> None:
    wrong = {"none", "null", "n/a", "nan", "unknown", "-", "?"}
    for row in read_table(table):
        assert [cell for cell in row.values() if cell.casefold() in wrong or cell != cell.strip()] == []


def test_no_region_occurs_twice() -> None:
    counted = Counter((row["provider"], row["name"]) for row in read_table("places.csv"))
    assert [key for key, count in counted.items() if count > 1] == []
    assert len(places.regions()) == counted.total()


def test_every_region_has_a_known_provider_and_partition() -> None:
    for (provider, _), region in places.regions().items():
        assert provider in places.providers()
        part = places.partitions().get(region.partition)
        assert (part.provider if part else region.partition) == provider, region
        assert (provider, region.partition) in places.resolve_partitions(provider)


def test_every_country_in_the_tables_exists() -> None:
    known = places.countries().keys()
    said = {row["country"] for table in ("places.csv", "zones.csv") for row in read_table(table)}
    said |= {
        row["operator_country"] for t in ("providers.csv", "partitions.csv", "places.csv") for row in read_table(t)
    }
    assert said - {""} - known == set()


def test_kinds_are_the_five() -> None:
    assert {provider.kind for provider in places.providers().values()} == KINDS


def test_figures_are_plausible() -> None:
    for region in places.regions().values():
        assert (region.latitude is None) == (region.longitude is None), region.name
        assert region.latitude is None or -60 < region.latitude < 70, region.name
        assert region.carbon_g_per_kwh is None or 0 < region.carbon_g_per_kwh < 1200, region.name
        assert (region.carbon_g_per_kwh is None) == (region.carbon_scope is None), region.name
        assert region.pue is None or 1 <= region.pue < 2, region.name


@pytest.mark.parametrize(
    ("country", "north", "east"),
    [
        ("AU", False, True),
        ("BR", False, False),
        ("CA", True, False),
        ("CL", False, False),
        ("DE", True, True),
        ("IN", True, True),
        ("JP", True, True),
        ("MX", True, False),
        ("US", True, False),
        ("ZA", False, True),
    ],
)
def test_coordinates_have_the_sign_of_their_country(country: str, north: bool, east: bool) -> None:
    there = [r for r in places.regions().values() if r.country == country and r.latitude and r.longitude]
    assert there
    assert [r.name for r in there if ((r.latitude or 0) > 0, (r.longitude or 0) > 0) != (north, east)] == []


# -- providers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("aws", "aws"),
        ("AWS", "aws"),
        ("Amazon", "aws"),
        ("google", "gcp"),
        ("Google Cloud", "gcp"),
        ("microsoft", "azure"),
        ("oracle", "oci"),
        ("Oracle Cloud", "oci"),
        ("datacrunch", "verda"),
        ("vast", "vast-ai"),
        ("vastai", "vast-ai"),
        ("vast_ai", "vast-ai"),
        ("Vast.ai", "vast-ai"),
        ("ovhcloud", "ovh"),
        ("LambdaLabs", "lambda"),
        ("lambda labs", "lambda"),
        ("Jarvislabs", "jarvis-labs"),
        ("Cudo Compute", "cudo"),
        ("Latitude.sh", "latitude"),
        ("on_prem", "own"),
        ("own", "own"),
    ],
)
def test_provider_goes_by_name_title_and_alias(text: str, name: str) -> None:
    assert places.resolve_provider(text) == name


def test_provider_names_mean_one_provider_each() -> None:
    said = [(alias, p.name) for p in places.providers().values() for alias in (p.name, p.title, *p.aliases)]
    assert {alias: places.resolve_provider(alias) for alias, _ in said} == dict(said)


def test_mistyped_provider_is_met_with_the_nearest_names() -> None:
    with pytest.raises(UnknownName, match=r"no provider is called 'nebiu'\. Did you mean nebius") as caught:
        places.resolve_provider("nebiu")
    assert "nebius" in caught.value.choices


def test_partition_is_not_widened_to_its_provider() -> None:
    with pytest.raises(UnknownName, match=r"part of aws \(partition aws-us-gov\)") as caught:
        places.resolve_provider("aws-gov")
    assert caught.value.choices == ("aws",)


def test_unsourced_parent_country_is_unknown() -> None:
    assert places.providers()["civo"].operator_country is None
    assert places.providers()["own"].operator_country is None
    assert places.providers()["ovh"].operator_country == "FR"


@pytest.mark.parametrize("name", ["vast-ai", "akash", "salad", "tensordock", "spheron", "runpod"])
def test_third_party_hosts_are_marketplaces(name: str) -> None:
    assert places.providers()[name].kind == "marketplace"


# -- partitions --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("aws-gov", {("aws", "aws-us-gov")}),
        ("aws-us-gov", {("aws", "aws-us-gov")}),
        ("aws-commercial", {("aws", "aws")}),
        ("AzureCloud", {("azure", "azure-public")}),
        ("AzureUSGovernment", {("azure", "azure-gov")}),
        ("azure-cn", {("azure", "azure-china")}),
        ("googleapis.com", {("gcp", "gcp")}),
        ("s3ns", {("gcp", "gcp-s3ns")}),
        ("gcp", {("gcp", "gcp"), ("gcp", "gcp-s3ns")}),
        ("oci-gov", {("oci", "oc2"), ("oci", "oc3"), ("oci", "oc4"), ("oci", "oc10")}),
        ("oci-eu-sovereign", {("oci", "oc19")}),
        ("lambda", {("lambda", "lambda")}),
    ],
)
def test_partition_names(text: str, pairs: set[tuple[str, str]]) -> None:
    assert places.resolve_partitions(text) == pairs


def test_mistyped_partition() -> None:
    with pytest.raises(UnknownName, match="aws-us-gov"):
        places.resolve_partitions("aws-us-gv")


# -- regions -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "text", "name"),
    [
        ("aws", "us-east-1", "us-east-1"),
        ("aws", "US-East-1", "us-east-1"),
        ("amazon", "us-east-1", "us-east-1"),
        ("aws", "EU (Frankfurt)", "eu-central-1"),
        ("aws", "Europe (Frankfurt)", "eu-central-1"),
        ("azure", "East US", "eastus"),
        ("azure", "WestEurope", "westeurope"),
        ("ovhcloud", "gra11", "GRA11"),
        ("hetzner", "fsn1", "fsn1-dc14"),
        ("aws-sagemaker", "us-east-1", "us-east-1"),
    ],
)
def test_region_goes_by_name_and_alias(provider: str, text: str, name: str) -> None:
    region = places.region(provider, text)
    assert region is not None
    assert region.name == name


def test_absent_region_is_none() -> None:
    assert places.region("aws", "us-east1") is None  # another provider spells it so
    assert places.region("nobody", "us-east-1") is None


def test_region_names_mean_one_region_per_provider() -> None:
    seen = Counter(
        (r.provider, name) for r in places.regions().values() for name in {n.casefold() for n in (r.name, *r.aliases)}
    )
    assert [key for key, count in seen.items() if count > 1] == []


def test_one_name_at_several_providers() -> None:
    found = places.resolve_region("us-east-1")
    assert {("aws", "us-east-1"), ("alibaba", "us-east-1"), ("lambda", "us-east-1")} <= found
    assert ("gcp", "us-east1") not in found
    assert places.resolve_region("europe-west4") == {("gcp", "europe-west4")}
    assert places.resolve_region("east us") == {("azure", "eastus")}


def test_mistyped_region_is_met_with_the_nearest_names() -> None:
    with pytest.raises(UnknownName, match=r"Did you mean .*europe-west4") as caught:
        places.resolve_region("europ-west4")
    assert "europe-west4" in caught.value.choices


@pytest.mark.parametrize(
    ("provider", "name", "operator", "country"),
    [
        ("aws", "us-east-1", "Amazon", "US"),
        ("aws", "cn-north-1", "Sinnet", "CN"),
        ("aws", "cn-northwest-1", "NWCD", "CN"),
        ("aws", "us-gov-west-1", "Amazon", "US"),
        ("aws", "eusc-de-east-1", "AWS European Sovereign Cloud GmbH", "US"),
        ("azure", "chinaeast2", "21Vianet", "CN"),
        ("gcp", "u-france-east1", "S3NS", "FR"),
        ("oci", "eu-frankfurt-2", "Oracle", "US"),
        ("oci", "eu-jovanovac-1", "partner", None),  # another operator, not named: not the provider's country
        ("nebius", "eu-north1", "Nebius", "NL"),
        ("civo", "global", None, None),
    ],
)
def test_who_runs_a_region(provider: str, name: str, operator: str | None, country: str | None) -> None:
    region = places.region(provider, name)
    assert region is not None
    assert region.operator_country == country
    assert operator in region.operator if operator and region.operator else region.operator is operator


@pytest.mark.parametrize("provider", ["oci", "lambda", "hyperstack", "runpod", "vast-ai", "coreweave", "verda"])
def test_price_list_without_regions_names_no_country(provider: str) -> None:
    region = places.region(provider, "global")
    assert region is not None
    assert region.country is None
    assert "names no region" in region.note


def test_group_of_countries_is_no_country() -> None:
    for provider in ("ovh", "netcup"):
        region = places.region(provider, "eu")
        assert region is not None
        assert region.country is None


# -- where a zone stands -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "region", "zone", "country"),
    [
        ("aws", "eu-central-1", None, "DE"),
        ("aws", "eu-central-1", "", "DE"),
        ("aws", "eu-central-1", "eu-central-1a", "DE"),
        ("aws", "us-east-1", "use1-az4", "US"),
        ("aws", "us-gov-west-1", "us-gov-west-1b", "US"),
        ("aws", "us-west-2", "us-west-2-lax-1", "US"),
        ("aws", "us-west-2", "us-west-2-lax-1b", "US"),
        ("aws", "us-east-1", "us-east-1-qro-1", "MX"),
        ("aws", "us-east-1", "us-east-1-bue-1a", "AR"),
        ("aws", "us-east-1", "use1-scl1-az1", "CL"),
        ("aws", "us-east-1", "use1-atl2-az1", "US"),
        ("aws", "eu-central-1", "eu-central-1-waw-1", "PL"),
        ("aws", "eu-central-1", "eu-central-1-ist-1a", "TR"),
        ("aws", "eu-west-3", "eu-west-3-wl1-cmn1", "MA"),
        ("aws", "eu-west-3", "eu-west-3-wl1-cmn-wlz-1", "MA"),
        ("aws", "me-south-1", "me-south-1-mct-1", "OM"),
        ("aws", "us-east-1", "us-east-1-wl1", "US"),
        ("AWS", "US-EAST-1", "US-EAST-1-LIM-1", "PE"),
        ("aws", "us-east-1", "us-east-1-xyz-1a", None),  # some local zone: not the parent's country
        ("aws", "eu-west-3", "eu-west-3-wl1-xyz1", None),
        ("gcp", "europe-west4", "europe-west4-b", "NL"),
        ("azure", "norwayeast", "2", "NO"),
        ("runpod", "CA", "CA-MTL-1", "CA"),
        ("runpod", "US", "US-DE-1", "US"),  # Delaware
        ("runpod", "SE", "EU-SE-1", "SE"),
        ("runpod", "NO", "EU-SE-1", "SE"),  # sold as Norway, stands in Sweden
        ("runpod", "NO", "EUR-XX-9", None),
        ("runpod", "NO", None, "NO"),
        ("lambda", "europe-central-1", None, "DE"),
        ("lambda", "us-south-2", None, "US"),
        ("hyperstack", "NORWAY-1", None, "NO"),
        ("vast-ai", "global", None, None),
        ("ovh", "eu", None, None),
        ("aws", "eu-isoe-west-1", None, None),
        ("azure", "brazilus", None, None),
        ("nobody", "nowhere", None, None),
        ("aws", "no-such-1", "no-such-1a", None),
    ],
)
def test_country_of_a_zone(provider: str, region: str, zone: str | None, country: str | None) -> None:
    assert places.country_of(provider, region, zone) == country


def test_zone_names_mean_one_zone_each() -> None:
    rows = [row for row in read_table("zones.csv") if not row["kind"].startswith("ordinary")]
    said = Counter(
        (row["provider"], name.casefold())
        for row in rows
        for name in (row["zone"], *filter(None, row["aliases"].split("|")))
    )
    assert [key for key, count in said.items() if count > 1] == []
    assert all(places.region(row["provider"], row["region"]) for row in rows)


# -- countries ---------------------------------------------------------------------------------------------------------


def test_norway_is_a_country_and_not_a_no() -> None:
    norway = places.countries()["NO"]
    assert (norway.name, norway.continent, norway.eu, norway.eea) == ("Norway", "EU", False, True)
    assert (
        places.resolve_countries("NO") == places.resolve_countries("no") == places.resolve_countries("Norway") == {"NO"}
    )


def test_all_countries_of_the_iso_list() -> None:
    assert len(places.countries()) == 249
    assert all(re.fullmatch("[A-Z]{2}", code) for code in places.countries())
    counted = Counter(country.continent for country in places.countries().values())
    assert counted == {"AF": 60, "AN": 1, "AS": 51, "EU": 51, "NA": 41, "OC": 29, "SA": 16}
    assert counted.total() == 249


def test_eu_is_the_union_with_its_outermost_regions() -> None:
    eu = places.resolve_countries("EU")
    assert eu == EU_MEMBERS | EU_TERRITORIES
    assert eu.isdisjoint({"GB", "CH", "NO", "IS", "LI", "RS", "TR", "UA", "PM", "NC", "GL"})


def test_eea_adds_three() -> None:
    assert places.resolve_countries("EEA") - places.resolve_countries("EU") == {"NO", "IS", "LI"}


def test_continent_goes_by_its_full_name_and_is_not_the_union() -> None:
    europe = places.resolve_countries("Europe")
    assert {"GB", "CH", "NO", "RS", "RU", "DE"} <= europe
    assert "CY" not in europe  # a member of the Union, in Asia to UN M49
    assert places.resolve_countries("NorthAmerica") == places.resolve_countries("north america")
    assert {"US", "CA", "MX", "CR"} <= places.resolve_countries("North-America")
    assert {"SG", "JP", "TW", "TR"} <= places.resolve_countries("Asia")
    assert places.resolve_countries("South America") >= {"BR", "CL"}


@pytest.mark.parametrize(("code", "name"), [("NA", "Namibia"), ("SA", "Saudi Arabia"), ("AS", "American Samoa")])
def test_two_letters_are_a_country_and_never_a_continent(code: str, name: str) -> None:
    assert places.resolve_countries(code) == {code}
    assert places.countries()[code].name == name


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("UK", {"GB"}),
        ("United Kingdom", {"GB"}),
        ("USA", {"US"}),
        ("usa, ca", {"US", "CA"}),
        ("DE,fr , Netherlands", {"DE", "FR", "NL"}),
        ("South Korea", {"KR"}),
        ("Korea, Republic of", {"KR"}),
        ("Taiwan", {"TW"}),
        ("Türkiye", {"TR"}),
        ("turkey", {"TR"}),
        ("cote d'ivoire", {"CI"}),
        ("Réunion", {"RE"}),
        ("CH,EEA", {"CH", "NO", "IS", "LI"} | EU_MEMBERS | EU_TERRITORIES),
    ],
)
def test_list_of_countries(text: str, codes: set[str]) -> None:
    assert places.resolve_countries(text) == codes


def test_country_names_mean_one_country_each() -> None:
    for row in read_table("countries.csv"):
        for name in (row["code"], row["name"], *filter(None, row["aliases"].split("|"))):
            assert places.resolve_countries(name) == {row["code"]}, name


def test_one_bad_part_fails_the_whole_list() -> None:
    with pytest.raises(UnknownName, match=r"'Norwayy'.*Norway") as caught:
        places.resolve_countries("DE,Norwayy")
    assert "Norway" in caught.value.choices


@pytest.mark.parametrize("text", ["Korea", "XX", "APAC", "true"])
def test_what_names_no_country(text: str) -> None:
    with pytest.raises(UnknownName):
        places.resolve_countries(text)


@pytest.mark.parametrize("text", ["", " ", "DE,,FR", "DE,"])
def test_empty_part_is_refused(text: str) -> None:
    with pytest.raises(QueryError, match="empty part"):
        places.resolve_countries(text)


# -- a damaged table ---------------------------------------------------------------------------------------------------


@pytest.fixture
def damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the tables to be damaged, read in place of the packaged ones."""
    for name in TABLES:
        (tmp_path / name).write_bytes(Path(loader.table_path(name)).read_bytes())
    monkeypatch.setattr(loader, "FACTS_FOLDER", str(tmp_path))
    cached = (places.providers, places.regions)
    for table in cached:
        table.cache_clear()
    yield tmp_path
    for table in cached:
        table.cache_clear()


@pytest.mark.parametrize(
    ("right", "wrong"),
    [(",50.09921,", ",fifty,"), ("aws,aws,eu-central-1", "nobody,aws,eu-central-1")],
)
def test_bad_cell_is_reported_with_file_and_line(damaged: Path, right: str, wrong: str) -> None:
    table = damaged / "places.csv"
    text = table.read_text(encoding="utf-8")
    assert right in text
    table.write_text(text.replace(right, wrong), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"places\.csv, line \d+: .*(fifty|nobody)"):
        places.regions()


def test_a_zone_is_found_by_each_of_its_names() -> None:
    found = places.zone("aws", "USE1-ATL1-AZ1")
    assert found is not None
    assert (found.name, found.region, found.kind, found.city) == ("us-east-1-atl-1", "us-east-1", "local", "Atlanta")
    assert places.zones_called("us-east-1-atl-1a") == (found,)
    assert places.zone("aws", "us-east-1a") is None
    assert places.zone("gcp", "us-east-1-atl-1") is None
    assert places.zones_called("") == ()


@pytest.mark.parametrize(
    ("provider", "listed", "name"),
    [
        ("aws", "use1-az6", None), ("aws", "us-east-1a", "us-east-1a"), ("aws", "us-east-1-atl-1", "us-east-1-atl-1a"),
        ("aws", "use1-atl1-az1", "us-east-1-atl-1a"), ("aws", "us-west-2-lax-1", None),
        ("aws", "us-west-2-lax-1b", "us-west-2-lax-1b"), ("aws", "eu-west-3-wl1-cmn1", "eu-west-3-wl1-cmn-wlz-1"),
        ("gcp", "us-central1-a", "us-central1-a"), ("runpod", "EU-SE-1", "EU-SE-1"),
    ],
)  # fmt: skip
def test_the_name_of_a_zone_is_what_every_account_calls_it(provider: str, listed: str, name: str | None) -> None:
    assert places.zone_name(provider, listed) == name
