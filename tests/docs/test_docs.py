"""The documentation is complete, its links lead somewhere, and its suites can be read."""

import re
from dataclasses import fields

import click
import pytest

from provenance.audit import CHANGE_KINDS
from provenance.cli import cli
from provenance.errors import SuiteError
from provenance.evidence.blocks import AlignedBlocks, BlockEvidence, MLPEvidence, PartEvidence
from provenance.evidence.models import InputsRecord, ModelRecord
from provenance.evidence.records import Evidence
from provenance.plugin import hookspecs, options
from provenance.recipes.quickstart import QUICKSTART
from provenance.statistics import REGISTRY
from provenance.suite import read as suite
from provenance.suite.schema import RegistryDocument, json_schema
from provenance.vocabulary import RELATIONSHIPS, STATISTICS
from tests.support.places import ROOT

README = ROOT / "README.md"
PAGES = sorted((ROOT / "docs").glob("*.md"))
LINKED = [*PAGES, README, *(ROOT / name for name in ("CONTRIBUTING.md", "SECURITY.md"))]
SUITES = (ROOT / "docs" / "suites.md").read_text("utf-8")
EVIDENCE = (ROOT / "docs" / "evidence.md").read_text("utf-8")
AUDIT = (ROOT / "docs" / "audit.md").read_text("utf-8")
FINGERPRINT = (ROOT / "docs" / "fingerprint.md").read_text("utf-8")
IDENTIFY = (ROOT / "docs" / "identify.md").read_text("utf-8")
STATISTICS_PAGE = (ROOT / "docs" / "statistics.md").read_text("utf-8")

PROJECT = "pytest-provenance/pytest-provenance"
OURS = re.compile(
    rf"https://(?:github\.com/{PROJECT}/blob|raw\.githubusercontent\.com/{PROJECT})/main/(.+)"
)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE_LINK = re.compile(r"\]\(([^)\s]+)\)")


def prose(page):
    """The text of a page without its fenced blocks."""
    return FENCE.sub("", page)


def rows(page):
    """The first cells of a page's tables, as they are written."""
    return [line.split("|")[1].strip() for line in page.splitlines() if line.startswith("| ")]


def named(page):
    """What is set in code in the first cells of a page's tables."""
    return {word for cell in rows(page) for word in re.findall(r"`([^`]+)`", cell)}


def suite_keys():
    """Every key of a suite, with the place that it stands in."""
    schema = json_schema()
    places = {"top": schema, **schema["$defs"]}
    return sorted(
        (name.removesuffix("Document").lower(), key)
        for name, part in places.items()
        for key in part.get("properties", {})
    )


def commands(command=cli, path=("provenance",)):
    """Every command that does something, by the words that call it."""
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from commands(inner, (*path, name))
    else:
        yield " ".join(path), command


def plugin_names():
    """The options and the ini values that the plugin adds."""
    found = {"options": [], "ini": []}

    class Group:
        def addoption(self, *names, **_):
            found["options"].extend(names)

    class Parser:
        def getgroup(self, *_):
            return Group()

        def addini(self, name, *_, **__):
            found["ini"].append(name)

    options.add(Parser())
    return found


def anchors(page):
    """The fragments that a page's headings can be linked by, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def targets(page):
    return INLINE_LINK.findall(prose(page.read_text("utf-8")))


def links():
    """Every relative link, with the page that it stands on."""
    for page in LINKED:
        for target in targets(page):
            if not re.match(r"[a-z]+:", target):
                yield pytest.param(page, target, id=f"{page.name}-{target}")


def project_links():
    """Every absolute link to a file of this repository, as a path in it."""
    for page in LINKED:
        for target in targets(page):
            if found := OURS.fullmatch(target):
                yield pytest.param(found[1], id=f"{page.name}-{found[1]}")


def yaml_blocks():
    for page in LINKED:
        for i, (kind, text) in enumerate(FENCE.findall(page.read_text("utf-8"))):
            if kind == "yaml" and re.search(r"^version: 1$", text, re.MULTILINE):
                yield pytest.param(text, id=f"{page.name}-{i}")


@pytest.mark.parametrize(("place", "key"), suite_keys())
def test_every_key_of_a_suite_is_documented(place, key):
    documented = SUITES if place == "share" else "\n".join(rows(SUITES))
    assert re.search(rf"`\{{?{key}[`:]", documented), f"{key} of {place}"


@pytest.mark.parametrize("relationship", RELATIONSHIPS)
def test_what_every_relationship_needs_is_documented(relationship):
    assert relationship in named(SUITES)


def test_no_relationship_is_documented_that_is_none():
    table = SUITES.partition("| `expect` | the verdict test passes when |")[2].partition("\n\n")[0]
    assert named(table) == set(RELATIONSHIPS)


@pytest.mark.parametrize("recipe", QUICKSTART, ids=lambda recipe: recipe.name)
def test_every_recipe_is_documented(recipe):
    assert f"`{recipe.name}`" in SUITES


def test_the_hook_for_recipes_is_documented():
    assert f"`{hookspecs.pytest_provenance_recipes.__name__}`" in SUITES


@pytest.mark.parametrize("option", plugin_names()["options"])
def test_every_pytest_option_is_documented(option):
    assert any(cell.startswith((f"`{option} ", f"`{option}`")) for cell in rows(SUITES))


@pytest.mark.parametrize("name", plugin_names()["ini"])
def test_every_ini_value_is_documented(name):
    assert f"`{name}`" in SUITES


@pytest.mark.parametrize("words", [words for words, _ in commands()])
def test_every_command_is_documented(words):
    assert any(cell.startswith(f"`{words}") for cell in rows(SUITES))


@pytest.mark.parametrize(
    "option",
    sorted({flag for _, command in commands() for param in command.params for flag in param.opts}),
)
def test_every_option_of_a_command_is_documented(option):
    if option.startswith("-"):
        assert re.search(rf"`[^`]*{option}[ `]", SUITES + EVIDENCE + AUDIT + FINGERPRINT + IDENTIFY)
    else:
        assert option.upper() in SUITES  # an argument


def test_every_option_of_compare_stands_in_its_table():
    ((_, compare),) = [found for found in commands() if found[0] == "provenance compare"]
    flags = {flag for param in compare.params for flag in param.opts if flag.startswith("--")}
    table = {cell.split()[0].strip("`") for cell in rows(EVIDENCE) if cell.startswith("`--")}
    assert table == flags


def test_every_option_and_every_change_of_an_audit_stands_in_its_tables():
    ((_, audit),) = [found for found in commands() if found[0] == "provenance audit"]
    flags = {flag for param in audit.params for flag in param.opts if flag.startswith("--")}
    assert flags == {word.split()[0] for word in named(AUDIT) if word.startswith("--")}
    assert set(CHANGE_KINDS) <= named(AUDIT)
    assert set(RegistryDocument.model_fields) <= named(AUDIT)


def test_every_option_of_identify_stands_in_its_table():
    ((_, identify),) = [found for found in commands() if found[0] == "provenance identify"]
    flags = {flag for param in identify.params for flag in param.opts if flag.startswith("--")}
    table = IDENTIFY.partition("## What a card says")[0]
    assert flags == {word.split()[0] for word in named(table) if word.startswith("--")}


@pytest.mark.parametrize("statistic", sorted({*REGISTRY, *STATISTICS}))
def test_every_statistic_is_documented(statistic):
    assert f"## {statistic}\n" in STATISTICS_PAGE
    section = STATISTICS_PAGE.partition(f"## {statistic}\n")[2].partition("\n## ")[0]
    for title in ("Null hypothesis", "What defeats it", "What is proven and what is not"):
        assert f"### {title}\n" in section


@pytest.mark.parametrize(
    ("part", "title"),
    [
        (Evidence, "## Fields"),
        (BlockEvidence, "### blocks"),
        (ModelRecord, "### candidate and reference"),
        (InputsRecord, "### inputs"),
    ],
)
def test_the_fields_of_evidence_are_documented_and_no_others(part, title):
    section = EVIDENCE.partition(f"{title}\n")[2].partition("\n##")[0]
    assert named(section) == {field.name for field in fields(part)}


@pytest.mark.parametrize("part", [PartEvidence, MLPEvidence, AlignedBlocks])
def test_the_fields_of_what_evidence_lists_are_documented(part):
    (row,) = [
        line
        for line in EVIDENCE.splitlines()
        if line.startswith(("| `parts` |", "| `experts` |", "| `alignment` |"))
        and f"`{fields(part)[0].name}`" in line
    ]
    assert {field.name for field in fields(part)} <= set(re.findall(r"`(\w+)`", row))


def leads_somewhere(page, target):
    path, _, fragment = target.partition("#")
    found = page.parent / path if path else page
    assert found.exists()
    if fragment and found.suffix == ".md":
        assert fragment in anchors(found.read_text("utf-8"))


@pytest.mark.parametrize(("page", "target"), [*links()])
def test_every_relative_link_leads_somewhere(page, target):
    leads_somewhere(page, target)


@pytest.mark.parametrize("target", [*project_links()])
def test_every_link_to_a_file_of_this_repository_leads_somewhere(target):
    leads_somewhere(README, target)


def test_the_links_of_readme_work_on_a_package_index():
    assert [target for target in targets(README) if not target.startswith("https://")] == []


def test_readme_is_short():
    assert len(README.read_text("utf-8").split()) <= 700


@pytest.mark.parametrize("text", [*yaml_blocks()])
def test_every_suite_in_the_documentation_can_be_read(text, tmp_path):
    try:
        suite.loads(text, tmp_path / "docs.suite.yaml")
    except SuiteError as error:
        pytest.fail(str(error))


def test_suites_are_found_in_the_documentation():
    assert len(list(yaml_blocks())) >= 4
    assert len(list(links())) >= 20
