"""What a gate says of results: Markdown, annotations, SARIF. No model is needed."""

import json
import re
from dataclasses import replace

import jsonschema
import pytest
from markdown_it import MarkdownIt

from provenance.evidence.failures import FAILURES, failure_of
from provenance.evidence.outcomes import OUTCOMES, headline, outcome_of
from provenance.evidence.results import ControlResult, PartResult
from provenance.evidence.verdict import judge_pair
from provenance.gate.github import commands
from provenance.gate.links import Links
from provenance.gate.markdown import LIMIT, escape, summary
from provenance.gate.sarif import sarif
from tests.support.gate_results import (
    BETWEEN,
    KIN,
    STRANGERS,
    claims,
    result,
    results,
    small,
    without_run,
)
from tests.support.places import DATA, DOCS

pytestmark = pytest.mark.slow

ENVIRONMENT = {
    "GITHUB_SERVER_URL": "https://github.com",
    "GITHUB_REPOSITORY": "acme/models",
    "GITHUB_SHA": "1f2e3d",
    "GITHUB_RUN_ID": "77",
}
LINKS = Links.of_github(ENVIRONMENT)
NASTY = "a|b `c` <script>x</script> @you *d* [e](http://f) :x: www.g.h\n# i"


# falsity


def test_every_false_claim_has_a_kind_of_failure_of():
    kinds = [kind and kind.id for kind in map(failure_of, small().claims)]
    assert kinds == [
        "false-independence",
        "no-kinship",
        None,
        "false-independence",
        "not-checked",
        "inconclusive",
    ]


@pytest.mark.parametrize(
    ("kind", "expected"), [("positive", "control-without-power"), ("null", "control-not-null")]
)
def test_a_control_that_fails_is_named(kind, expected):
    one = small().claims[2]
    failed = PartResult("a::b[null]", "failed", 0.1, "control   is not what it must be")
    control = ControlResult(kind, holds=False, log10_p=-9.0, evidence=one.evidence)
    assert failure_of(replace(one, parts=(failed,), controls=(control,))).id == expected


def test_kinship_of_another_kind_is_not_no_kinship():
    (claim,) = claims("- {candidate: a, reference: b, expect: identical}\n")
    assert failure_of(result(claim, KIN)).id == "other-kinship"


def test_a_known_failure_that_holds_is_named():
    one = small().claims[2]
    passed = PartResult("a::b[verdict]", "xpassed", 0.1, "known")
    assert failure_of(replace(one, parts=(passed,))).id == "unexpected-pass"


def test_the_headline_counts_the_claims():
    assert headline(small()) == (
        "6 claims: 2 false, 1 inconclusive, 1 not checked (exit status 1); 1 known failure, 1 holds"
    )
    assert "1 not run" in headline(without_run(small(), 0))
    idle = results(*(replace(small().claims[2], parts=()),))
    assert summary(idle).startswith("## Lineage: nothing was checked\n\n1 claim: 1 not run\n")
    unread = replace(small().suites[0], claims=(), path="b.suite.yaml")
    told = headline(replace(small(), suites=(*small().suites, unread)))
    assert told.startswith("1 suite could not be read; 6 claims: ")


FATES = {
    "independent-kin": ("expect: independent", KIN, "false", "false-independence"),
    "independent-between": ("expect: independent", BETWEEN, "inconclusive", "inconclusive"),
    "independent-absent-block": (
        "expect: independent, blocks: [0, 1, 7]",
        STRANGERS,
        "not-checked",
        "not-checked",
    ),
    "independent-kin-and-absent-block": (
        "expect: independent, blocks: [0, 7]",
        KIN,
        "false",
        "false-independence",
    ),
    "finetune-strangers": ("expect: finetune", STRANGERS, "false", "no-kinship"),
    "finetune-between": ("expect: finetune", BETWEEN, "inconclusive", "inconclusive"),
    "finetune-absent-block": ("expect: finetune, blocks: [7]", KIN, "not-checked", "not-checked"),
    "finetune-strangers-absent-block": (
        "expect: finetune, blocks: [0, 7]",
        STRANGERS,
        "not-checked",
        "not-checked",
    ),
    "finetune-few-blocks": ("expect: finetune", (0.99, 0.0), "too-few-blocks", "too-few-blocks"),
    "identical-kin": ("expect: identical", KIN, "other-kinship", "other-kinship"),
    "warned": ("expect: independent, inconclusive: warn", BETWEEN, "warned", "inconclusive"),
    "known": ("expect: independent, xfail: so it is", KIN, "known", "false-independence"),
    "holds": ("expect: finetune", KIN, "holds", None),
    "measured": ("expect: unknown", KIN, "measured", None),
    "missing": ("expect: finetune", None, "not-checked", "not-checked"),
}


@pytest.mark.parametrize(("says", "found", "key", "kind"), FATES.values(), ids=FATES)
def test_every_output_says_one_word_and_false_of_what_was_refuted_alone(says, found, key, kind):
    (claim,) = claims(f"- {{candidate: a, reference: b, {says}}}\n")
    run = results(result(claim, found, error=None if found else "the folder is not there"))
    (one,) = run.claims
    outcome = outcome_of(one)
    failure = failure_of(one)
    assert (outcome.key, failure and failure.id) == (key, kind)
    assert outcome.fails is (run.state == "fail")
    assert f"| {outcome.icon} {outcome.word} |" in summary(run) or key == "known"
    assert ("false" in headline(run)) is (key == "false")
    for alert in json.loads(sarif(run))["runs"][0]["results"]:
        assert (alert["ruleId"], alert["properties"]["outcome"]) == (kind, outcome.word)
    if failure is not None and one.state == "fail":
        assert failure.outcome == key


def test_every_outcome_is_documented_with_its_exit_status():
    table = (DOCS / "gate.md").read_text("utf-8").partition("## Three states")[0]
    rows = re.findall(r"^\| ([\w ]+) \|.*\| (\d) \|$", table, re.MULTILINE)
    assert rows == [(one.word, str(one.exit_status)) for one in OUTCOMES.values()]


def test_every_failure_has_an_outcome_that_fails():
    assert all(OUTCOMES[kind.outcome].fails for kind in FAILURES.values())


# Markdown


def test_the_most_urgent_come_first_and_link_to_the_line():
    text = summary(small(), LINKS)
    rows = [line for line in text.splitlines() if line.startswith("| :")]
    states = [row.split("|")[1].strip().split(" ")[0] for row in rows]
    assert states == [":x:"] * 4 + [":large_orange_diamond:", ":white_check_mark:"]
    assert (
        "[suites/a.suite.yaml:12](https://github.com/acme/models/blob/1f2e3d/suites/a.suite.yaml#L12)"
        in rows[0]
    )
    assert text.count("<details>") == text.count("</details>") == 4
    assert "The claim of independence is false." in text


def test_a_warning_is_told_in_every_output():
    made = claims(
        "- {candidate: a, reference: b, expect: independent}\n"
        "- {candidate: g, reference: b, expect: independent, inconclusive: warn}\n"
    )
    found = results(result(made[0], STRANGERS), result(made[1], BETWEEN))
    assert (found.state, failure_of(found.claims[1]).id) == ("warn", "inconclusive")
    text = summary(found)
    assert text.startswith(
        "## Lineage: no claim is newly found false, and not every one was run and holds\n"
    )
    told = "g is independent of b<br>by match<br>512 tokens<br>warns where inconclusive"
    assert f":warning: warned | {told} | inconclusive |" in text
    assert text.count("<details>") == 1
    (line,) = commands(found, LINKS)
    assert line.startswith("::warning file=suites/a.suite.yaml,line=13,")
    (told,) = json.loads(sarif(found))["runs"][0]["results"]
    assert (told["level"], told["ruleId"]) == ("warning", "inconclusive")


def test_names_and_reasons_are_text():
    made = claims(f"- {{candidate: a, reference: b, expect: independent, xfail: {NASTY!r}}}\n")
    text = summary(results(result(made[0], KIN), result(made[0], error=NASTY)), LINKS)
    html = MarkdownIt("commonmark", {"linkify": False}).enable("table").render(text)
    assert html.count("<table>") >= 1
    for markup in (
        "<script>",
        "<em>d</em>",
        '<a href="http://f"',
        "<h1>",
        "<code>c</code>",
        "@you",
    ):
        assert markup not in html
    assert "&lt;script&gt;" in html
    rows = [line for line in text.splitlines() if line.startswith("| :large")]
    assert [row.replace("\\|", "").count("|") for row in rows] == [7, 7]


@pytest.mark.parametrize("text", ["- a", "1. a", "+ a", "= a", "# a", "    a", "> a", "| a |"])
def test_a_line_begins_no_structure(text):
    html = MarkdownIt("commonmark").enable("table").render(escape(text))
    assert html.startswith("<p>")


def test_characters_that_turn_or_hide_text_are_replaced():
    assert escape("a\u202eb\x1b[31mc\u200b") == "a\ufffdb\ufffd\\[31mc\ufffd"


def many(number):
    (claim,) = claims("- {candidate: a, reference: b, expect: independent}\n")
    one = result(claim, KIN)
    ids = [replace(claim, id=f"claim-{index}-ü") for index in range(number)]
    return results(*(replace(one, claim=claim) for claim in ids))


def test_a_summary_is_cut_between_rows_and_says_how_much_is_left_out():
    found = many(5000)
    text = summary(found, LINKS)
    size = len(text.encode())
    assert LIMIT - 3000 < size <= LIMIT
    rows = text.count("| :x: false |")
    details = text.count("<details>")
    assert (rows, text.count("</details>")) == (5000, details)
    assert text.endswith(
        f"\n0 claims and the details of {5000 - details} are left out, for want of room. All of them "
        "are with [this run](https://github.com/acme/models/actions/runs/77).\n"
    )


def test_what_others_wrote_leaves_less_room():
    found = many(100)
    text = summary(found, LINKS, 9000)
    assert len(text.encode()) <= 9000
    rows = text.count("| :x: false |")
    assert 20 < rows < 100
    assert f"\n{100 - rows} claims and the details of 100 are left out" in text
    assert text.splitlines()[2 + 3 + rows].startswith("| :x:")
    assert summary(found, LINKS, 100) == summary(found, LINKS, -5) == ""


def test_what_fits_is_whole():
    text = summary(small(), LINKS)
    assert "left out" not in text
    whole = len(text.encode())
    assert summary(small(), LINKS, whole + 500) == text


# annotations


def test_an_annotation_is_on_the_value_that_is_false():
    line = commands(small(), LINKS)[0]
    assert line.startswith(
        "::error file=suites/a.suite.yaml,line=12,col=40,endColumn=50,"
        "title=provenance%3A false-independence::claimed: a is independent of b%0Amatch over 2 blocks"
    )


def test_annotations_are_escaped():
    made = claims("- {candidate: a, reference: b, expect: independent}\n")
    one = replace(result(made[0], error="50%\r\nof a, b: c"), suite="s/x,y:%.suite.yaml")
    (line,) = commands(results(one, suites=("s/x,y:%.suite.yaml",)), LINKS)
    assert line.startswith("::error file=s/x%2Cy%3A%25.suite.yaml,line=")
    assert line.endswith("could not be checked: 50%25%0D%0Aof a, b: c")


def test_ten_errors_are_shown_and_the_rest_is_counted():
    lines = commands(many(13), LINKS)
    assert [line.split(" ")[0] for line in lines] == ["::error"] * 10 + ["::notice"]
    assert lines[-1] == "::notice title=provenance::3 more errors are in the job's summary"


def test_paths_are_of_the_repository():
    links = Links("packages/gate")
    assert commands(small(), links)[0].startswith("::error file=packages/gate/suites/a.suite.yaml,")
    assert Links("x").path("../a.yaml") == "a.yaml"
    assert replace(LINKS, prefix="x").url("../../a.yaml", 3) is None
    assert (
        LINKS.url("a b#.yaml", 3) == "https://github.com/acme/models/blob/1f2e3d/a%20b%23.yaml#L3"
    )
    assert Links.of_github({}) == Links()


# SARIF


@pytest.fixture(scope="module")
def schema():
    fields = json.loads((DATA / "sarif-2.1.0-rtm.5.json").read_text())
    return jsonschema.Draft4Validator(fields, format_checker=jsonschema.FormatChecker())


def test_sarif_is_valid(schema):
    found = small()
    for one in (found, replace(found, claims=found.claims[2:3]), many(3)):
        schema.validate(json.loads(sarif(one, LINKS)))
    with pytest.raises(jsonschema.ValidationError):  # the schema would see a mistake
        schema.validate(json.loads(sarif(found).replace('"startLine"', '"startLin"')))


def test_sarif_points_at_the_value_that_is_false():
    log = json.loads(sarif(small(), LINKS))["runs"][0]
    first, *_ = log["results"]
    place = first["locations"][0]["physicalLocation"]
    assert place["artifactLocation"] == {"uri": "suites/a.suite.yaml", "uriBaseId": "%SRCROOT%"}
    assert place["region"] == {
        "startLine": 12,
        "startColumn": 40,
        "endLine": 12,
        "endColumn": 51,
    }
    assert [rule["id"] for rule in log["tool"]["driver"]["rules"]] == list(FAILURES)
    for told in log["results"]:
        assert log["tool"]["driver"]["rules"][told["ruleIndex"]]["id"] == told["ruleId"]
    levels = [told["level"] for told in log["results"]]
    assert levels == ["error", "error", "note", "error", "error"]
    assert log["results"][2]["suppressions"] == [
        {"kind": "inSource", "justification": "<b>known</b> | @you"}
    ]


def test_fingerprints_stay_when_a_line_moves_and_differ_between_claims():
    def prints(found):
        told = json.loads(sarif(found))["runs"][0]["results"]
        return [one["partialFingerprints"] for one in told]

    found = small()
    moved = tuple(
        replace(one, claim=replace(one.claim, mark=replace(one.claim.mark, line=90, end_line=90)))
        for one in found.claims
    )
    assert prints(found) == prints(replace(found, claims=moved))
    assert len({one["primaryLocationLineHash"] for one in prints(found)}) == 5


def test_what_holds_is_no_alert():
    (claim,) = claims("- {candidate: a, reference: b, expect: independent}\n")
    assert json.loads(sarif(results(result(claim, STRANGERS))))["runs"][0]["results"] == []


def test_every_rule_is_documented_and_no_other():
    page = (DOCS / "gate.md").read_text("utf-8")
    table = page.partition("| rule | what does not hold |\n")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `([\w-]+)` \|", table, re.MULTILINE) == list(FAILURES)


def test_why_a_pair_of_which_nothing_is_claimed_stays_open_stands_in_its_row():
    (open_pair, kin) = claims(
        "  - {candidate: a, reference: b, expect: unknown, statistic: csu}\n"
        "  - {candidate: c, reference: d, expect: unknown, statistic: csu}\n"
    )
    found = [result(open_pair, STRANGERS), result(kin, KIN)]
    by_csu = []
    for one in found:
        seen = replace(one.evidence, statistic="csu")
        by_csu.append(replace(one, evidence=seen, judgement=judge_pair(one.claim, seen)))
    rows = [line for line in summary(results(*by_csu)).splitlines() if " | 5e-07 | " in line]
    assert [("| inconclusive |" in row, "| dependent |" in row) for row in rows].count(
        (True, False)
    ) == 1
    for row in rows:
        says = "csu finds no copy in a disguise that costs nothing" in row
        assert says == ("| inconclusive |" in row)
