"""Evidence is read back as it was written; what is not evidence is refused in one line."""

import dataclasses
import json
import math
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provenance.errors import ProvenanceError
from provenance.evidence.blocks import BlockEvidence
from provenance.evidence.bounds import LEAST
from provenance.evidence.models import InputsRecord, ModelRecord
from provenance.evidence.records import OLDER, SCHEMA, Evidence, EvidenceError, Pairing
from provenance.statistics.pvalues import FEWEST_RANKED
from provenance.vocabulary import BLOCK_LIMIT, InputKind
from tests.support.synthetic import difference

DEPTH = 9
"""Of the models that evidence is drawn of, at least."""

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
counts = st.integers(0, 2**63 - 1)
pairs_of_counts = st.tuples(counts, counts)
indices = st.integers(0, DEPTH - 1)
tested_blocks = st.builds(
    BlockEvidence,
    candidate_block=indices,
    reference_block=indices,
    log10_p=st.floats(LEAST, 0.0),
    correlation=st.floats(-1.0, 1.0),
    units=pairs_of_counts,
    live=st.tuples(*2 * [st.integers(FEWEST_RANKED, 2**63 - 1)]),
    agreeing=counts,
    fits=st.none() | st.tuples(st.floats(-1e300, 1.0), st.floats(-1e300, 1.0)),
    matchings=st.none()
    | st.lists(pairs_of_counts, min_size=1, max_size=4).map(lambda x: tuple(zip(*x, strict=True))),
)
degenerate_blocks = st.builds(
    BlockEvidence,
    candidate_block=indices,
    reference_block=indices,
    log10_p=st.none(),
    correlation=st.none(),
    units=pairs_of_counts,
    live=pairs_of_counts,
    agreeing=st.just(0),
    state=st.just("degenerate"),
    reason=words,
)
models = st.builds(
    ModelRecord,
    source=words,
    digest=words,
    architecture=words,
    blocks=st.integers(DEPTH, BLOCK_LIMIT),
    parameters=counts,
    dtype=words,
    skipped=st.dictionaries(st.integers(0, 99).map(str), words, max_size=3),
)
inputs_records = st.builds(
    InputsRecord,
    kind=st.sampled_from(get_args(InputKind)),
    text=st.none() | words,
    tokens=counts,
    sequence_length=counts,
    seed=counts,
    digest=words,
    note=st.none() | words,
)
evidences = st.builds(
    Evidence,
    statistic=words,
    log10_p=st.none() | st.floats(LEAST, 0.0),
    blocks=st.lists(
        tested_blocks | degenerate_blocks, max_size=4, unique_by=lambda block: block.candidate_block
    ).map(tuple),
    candidate=models,
    reference=models,
    inputs=inputs_records,
    pairing=st.sampled_from(get_args(Pairing)),
    seed=counts,
    device=words,
    versions=st.dictionaries(words, words, max_size=3),
    created=words,
    schema=st.just(OLDER),
)


def block(index=0, log10_p=-12.5, partner=None):
    """Block ``index`` of the candidate against a block of the reference."""
    partner = index if partner is None else partner
    if log10_p is None:
        return BlockEvidence(
            index, partner, None, None, (8, 8), (2, 8), 0, "degenerate", "2 units vary"
        )
    return BlockEvidence(index, partner, log10_p, 0.9, (8, 8), (8, 8), 7)


def record(**changes):
    fields = {"source": "path:./a", "digest": "sha256:a", "architecture": "LlamaForCausalLM"}
    return ModelRecord(**{**fields, "blocks": 2, "parameters": 9, "dtype": "float32", **changes})


@pytest.fixture
def evidence():
    return Evidence(
        statistic="match",
        log10_p=-400.25,
        blocks=(block(0), block(1, None)),
        candidate=record(),
        reference=record(source="path:./b", skipped={"1": "MambaMixer"}),
        inputs=InputsRecord("text", "stdlib", 64, 16, 0, "sha256:i"),
        pairing="same-index",
        seed=0,
        device="cpu",
        versions={"torch": "2.4.0"},
        created="2025-01-01T00:00:00+00:00",
    )


@pytest.fixture
def fields(evidence):
    """What the file of the evidence holds, to be damaged."""
    return json.loads(evidence.to_json())


def refuse(constant):
    raise AssertionError(constant)


def put(fields, path, value):
    """Set ``fields[path[0]][path[1]]...``."""
    *folders, last = path
    for folder in folders:
        fields = fields[folder]
    fields[last] = value


@pytest.mark.slow
@given(evidences)
def test_evidence_is_read_back_equal(evidence):
    assert Evidence.from_json(evidence.to_json()) == evidence


@pytest.mark.slow
@given(evidences)
def test_bytes_read_as_text_does(evidence):
    assert Evidence.from_json(evidence.to_json().encode()) == evidence


@pytest.mark.slow
@given(evidences)
def test_json_holds_no_nan_and_no_infinity(evidence):
    json.loads(evidence.to_json(), parse_constant=refuse)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_nan_and_infinity_are_never_written(evidence, value):
    with pytest.raises(ValueError, match="Out of range float"):
        dataclasses.replace(evidence, log10_p=value).to_json()


def test_schema_is_written_first(evidence):
    assert next(iter(evidence.to_dict().items())) == ("schema", OLDER)


@pytest.mark.parametrize(
    ("matchings", "complaint"),
    [
        ([[0, 1], [0]], "two lists of one length, at most 256 units"),
        ([[0] * 257, [0] * 257], "two lists of one length, at most 256 units"),
        ([[0, -1], [0, 1]], "numbered from 0"),
    ],
)
def test_matchings_that_are_none_are_refused(fields, matchings, complaint):
    fields["blocks"][0]["matchings"] = matchings
    assert complaint in refusal(json.dumps(fields))


@pytest.mark.parametrize("units", [[-5, 8], [8, -1], [2**63, 8]])
def test_numbers_of_units_that_none_has_are_refused(fields, units):
    fields["blocks"][0]["units"] = units
    assert "block 0: numbers of units are 0 or more" in refusal(json.dumps(fields))


def test_a_p_value_far_below_the_least_float_survives(evidence):
    tiny = dataclasses.replace(evidence, log10_p=-123456.789)
    assert Evidence.from_json(tiny.to_json()).log10_p == -123456.789


def test_blocks_come_back_as_tuples_of_frozen_records(evidence):
    found = Evidence.from_json(evidence.to_json())
    assert isinstance(found.blocks, tuple)
    assert isinstance(found.blocks[0].units, tuple)
    assert isinstance(found.blocks[0], BlockEvidence)


@pytest.mark.parametrize("first", [-1, 0, 3])
def test_a_block_counts_with_one_before_it(fields, first):
    fields["blocks"][0]["counted_with"] = first
    line = refusal(json.dumps(fields))
    assert f"counted_with is {first}, no block before it" in line


@pytest.mark.parametrize("side", ["candidate_block", "reference_block"])
@pytest.mark.parametrize("index", [-1, 2, 9])
def test_a_block_that_its_model_does_not_have_is_refused(fields, side, index):
    fields["blocks"][1][side] = index
    assert "the models have 2 and 2 blocks, numbered from 0" in refusal(json.dumps(fields))


@pytest.mark.parametrize("side", ["candidate_block", "reference_block"])
def test_an_alignment_with_a_block_that_its_model_does_not_have_is_refused(fields, side):
    pair = {"candidate_block": 0, "reference_block": 0, "log10_p": -1.0, side: 2}
    fields["alignment"] = [pair]
    line = refusal(json.dumps(fields))
    assert "damaged at alignment: the models have 2 and 2 blocks, numbered from 0" in line


def test_a_block_stands_once(fields):
    fields["blocks"][1]["candidate_block"] = 0
    assert "damaged at block 0: it stands twice" in refusal(json.dumps(fields))


def test_coverage_has_a_share_of_each_block(fields):
    fields["coverage"] = {"reference": {"share": 0.5, "effect": 0.5, "blocks": [0.5, 0.5, 0.5]}}
    line = refusal(json.dumps(fields))
    assert "coverage of the reference: it has shares of 3 blocks, and the model has 2" in line


def test_a_difference_of_models_of_another_depth_is_refused(evidence):
    ours = dataclasses.replace(evidence, difference=difference(2))
    assert Evidence.from_json(ours.to_json()) == ours
    deeper = dataclasses.replace(evidence, difference=difference(3))
    assert "its models have other numbers of blocks" in refusal(deeper.to_json())


@pytest.mark.parametrize("live", [[0, 0], [0, 64], [64, 2]])
def test_a_p_value_of_too_few_units_is_refused(fields, live):
    fields["blocks"][0]["live"] = live
    assert f"is of {min(live)} units, too few to rank" in refusal(json.dumps(fields))


def test_a_refusal_is_an_error_of_the_users():
    assert issubclass(EvidenceError, ProvenanceError)


def refusal(text):
    """The one line with which the text is refused."""
    with pytest.raises(EvidenceError, match=r"^evidence ") as caught:
        Evidence.from_json(text)
    (line,) = str(caught.value).splitlines()
    return line


@pytest.mark.parametrize(
    "path",
    [
        ("extra",),
        ("candidate", "extra"),
        ("reference", "extra"),
        ("inputs", "extra"),
        ("blocks", 0, "extra"),
    ],
)
def test_an_unknown_key_is_refused_by_its_place(fields, path):
    put(fields, path, 1)
    assert f"damaged at {'.'.join(map(str, path))}: Unexpected" in refusal(json.dumps(fields))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("statistic",), 3),
        (("log10_p",), "small"),
        (("blocks",), "none"),
        (("blocks", 0), 5),
        (("blocks", 1, "log10_p"), "small"),
        (("blocks", 0, "units"), [8]),
        (("blocks", 0, "units", 1), 1.5),
        (("blocks", 0, "state"), "guessed"),
        (("blocks", 0, "candidate_block"), None),
        (("candidate",), None),
        (("candidate", "blocks"), "many"),
        (("reference", "skipped"), ["1"]),
        (("reference", "skipped", "1"), 7),
        (("inputs", "kind"), "audio"),
        (("pairing",), "by-name"),
        (("versions",), None),
        (("versions", "torch"), 2),
        (("created",), 1735689600),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_by_its_place(fields, path, value):
    put(fields, path, value)
    assert f"damaged at {'.'.join(map(str, path))}" in refusal(json.dumps(fields))


@pytest.mark.parametrize(
    "path", [("statistic",), ("blocks",), ("candidate", "digest"), ("inputs", "seed")]
)
def test_a_missing_key_is_refused_by_its_place(fields, path):
    holder = fields
    for folder in path[:-1]:
        holder = holder[folder]
    del holder[path[-1]]
    assert f"damaged at {'.'.join(path)}: " in refusal(json.dumps(fields))


@pytest.mark.parametrize("schema", [0, 3, "1", None, [1]])
def test_another_schema_is_refused_with_the_one_that_is_read(fields, schema):
    fields["schema"] = schema
    expected = f"of schema {schema!r}; this version of provenance reads schema {OLDER} and {SCHEMA}"
    assert expected in refusal(json.dumps(fields))


def test_evidence_without_a_schema_is_refused(fields):
    del fields["schema"]
    assert "of schema None" in refusal(json.dumps(fields))


def test_evidence_that_was_cut_off_anywhere_is_refused(evidence):
    text = evidence.to_json()
    for length in range(0, len(text), 37):
        assert refusal(text[:length]).startswith("evidence is not JSON: ")


@pytest.mark.parametrize("text", ["", "p = 0.05", "{'schema': 1}", b"\xff\xfe\x00", b"\x80\x03]"])
def test_what_is_not_json_is_refused(text):
    assert refusal(text).startswith("evidence is not JSON: ")


@pytest.mark.parametrize("text", ["[]", "1", "null", '"evidence"', "true"])
def test_json_that_is_no_object_is_refused(text):
    assert refusal(text) == "evidence is not a JSON object"


@pytest.mark.parametrize("bracket", ["[", '{"a":'])
def test_nesting_without_end_is_refused(bracket):
    assert refusal(bracket * 200_000).startswith("evidence is not JSON: ")


def test_deep_nesting_in_a_field_is_refused(fields):
    text = json.dumps(fields).replace('"match"', "[" * 400 + "]" * 400)
    assert "damaged" in refusal(text)


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity", "1e999"])
@pytest.mark.parametrize("path", [("log10_p",), ("blocks", 0, "correlation")])
def test_a_number_that_is_not_finite_is_refused_by_its_place(fields, path, literal):
    put(fields, path, "HERE")
    text = json.dumps(fields).replace('"HERE"', literal)
    assert f"damaged at {'.'.join(map(str, path))}" in refusal(text)


@given(st.binary(max_size=200))
def test_bytes_at_random_are_refused(data):
    refusal(data)


@pytest.mark.parametrize("kind", [BlockEvidence, ModelRecord, InputsRecord, Evidence])
def test_records_are_frozen(kind):
    assert kind.__dataclass_params__.frozen


def test_assigning_to_evidence_is_an_error(evidence):
    with pytest.raises(dataclasses.FrozenInstanceError, match="log10_p"):
        evidence.log10_p = 0.0


def test_tested_blocks_are_those_with_a_p_value(evidence):
    assert evidence.tested() == (evidence.blocks[0],)


def test_a_p_value_of_one_is_a_p_value(evidence):
    certain = dataclasses.replace(evidence, blocks=(block(0, 0.0),))
    assert certain.tested() == certain.blocks


def test_a_block_is_found_by_the_candidates_number(evidence):
    moved = dataclasses.replace(evidence, blocks=(block(4, partner=5), block(5, partner=4)))
    assert moved.block(5).reference_block == 4


def test_a_block_that_was_not_compared_is_none(evidence):
    assert evidence.block(2) is None
