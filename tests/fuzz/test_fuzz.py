"""Bytes of strangers: what once broke a reader, and a few hundred mutations of what it reads.

``python -m tests.fuzz.run TARGET`` goes on for as long as one likes.
"""

import json
from base64 import b64decode
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from provenance import Evidence, Results
from provenance.checkpoints.fingerprint_file import Fingerprint
from provenance.checkpoints.token_fingerprint_file import TokenFingerprint
from provenance.errors import ProvenanceError
from provenance.identification.library import Library
from provenance.suite.messages import known_keys, schema_at
from provenance.suite.schema import REGISTRY_VERBATIM, RegistryDocument, SuiteDocument
from provenance.suite.yaml12 import read
from tests.fuzz.mutate import FORMATS, mutate
from tests.fuzz.seeds import ENVELOPE, KINDS, REGISTRY, SAMPLES, STATEMENT, TREES
from tests.fuzz.targets import SEEDS, TARGETS, attempt, mutation

pytestmark = pytest.mark.slow

KEPT = sorted((Path(__file__).parent / "corpus").glob("*/*"))
COMPLAINTS = {
    "envelope/configuration-of-texts.json": "predicate is damaged at configuration",
    "evidence/schema-of-4000-digits.json": "a number of 4001 digits",
    "evidence/units-below-none.json": "block 0: numbers of units are 0 or more",
    "index/name-that-turns-the-line.json": r"on⟨U\+202E⟩e⟨U\+000A⟩\.safetensors is missing",
    "lock/claim-not-printable": "is no log10 p-value",
    "tensors/name-of-a-lone-surrogate": "is no sound safetensors file",
    "lock/key-of-3000-dots": "nested too deeply",
    "lock/long-hexadecimal-number": "a number has more than 64 bits",
    "lock/schema-of-5000-digits": "a number has more than 64 bits",
    "pickled/empty-stack": r"not a whole pickle of torch \(IndexError\)",
    "pickled/torn-archive": r"not a whole pickle of torch \(BadZipFile\)",
    "reading/p-value-above-one.json": "log10_p is 5.0, above 0",
    "report/holm-above-one.json": "claim 'ours-vs-base': a log10 p-value is above 0",
    "report/p-value-above-one.json": "log10_p is 5.0, above 0",
    "statement/configuration-is-a-number.json": "damaged at configuration",
    "statement/configuration-of-texts.json": "damaged at configuration",
    "statement/digest-is-a-list.json": "damaged at resultsSha256",
    "statement/infinite-number.json": "damaged: Fail to serialize Infinity",
    "statement/result-of-no-kind.json": "result is none of PASSED, WARNED, FAILED",
    "statement/tests-are-a-truth.json": "damaged at passedTests",
    "told/lineage-in-a-circle.json": "lineage: 'base' stands twice, or before its parent",
    "told/share-of-blocks-above-one.json": "at_least is a share",
    "statement/unknown-field.json": 'no field named "a"',
    "verify/blocks-of-a-trillion.json": r"reference\.blocks: 1000000000000 is no number of blocks",
    "verify/correlation-of-a-part-above-one.json": "correlation is 3.0, beyond 1",
    "verify/p-value-of-a-part-above-one.json": "block 0: log10_p is 1.5, above 0",
    "verify/p-values-whose-sum-overflows.json": r"-1\.7e\+308, below any that is measured",
    "verify/permutations-negative.json": "permutations: -1 is no number",
    "verify/permutations-of-400-digits.json": "a number of 401 digits",
    "verify/threshold-negative.json": "a threshold is above 0 and no more than alpha",
    "verify/threshold-zero.json": "a threshold is above 0 and no more than alpha",
}
CASES = 200
BYTES = 60
"""Of bytes, without a thought for what they mean."""


@pytest.mark.parametrize("name", TARGETS)
def test_a_seed_is_read(name):
    assert SEEDS[name]
    assert all(attempt(name, seed) for seed in SEEDS[name])


def _unused(values, annotation):
    """The keys of a schema that no mapping of the documents has, by the names of the keys beside them."""
    known, used = {}, {}

    def visit(value, annotation):
        keys = tuple(known_keys(annotation))
        if keys and isinstance(value, dict):
            known[keys] = set(keys)
            used.setdefault(keys, set()).update(value)
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            if isinstance(inner, dict | list) and not str(key).startswith("x-"):
                visit(inner, schema_at([key], annotation))

    for value in values:
        visit(value, annotation)
    return {name for keys in known for name in known[keys] - used[keys]}


@pytest.mark.parametrize(
    ("seeds", "top"),
    [((TREES, SAMPLES), SuiteDocument), ((REGISTRY,), RegistryDocument)],
    ids=["suite", "registry"],
)
def test_a_seed_has_every_key_of_its_schema(seeds, top):
    values = [read(seed.decode(), Path("seed"), verbatim=REGISTRY_VERBATIM).value for seed in seeds]
    assert _unused(values, top) == set()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("evidence", Evidence),
        ("results", Results),
        ("bundle", Fingerprint),
        ("token_bundle", TokenFingerprint),
        ("library", Library),
    ],
)
def test_seeds_have_every_key_of_their_documents(name, kind):
    documents = [FORMATS[KINDS.get(name, "json")].read(seed)[0] for seed in SEEDS[name]]
    keys = {key for document in documents for key, _ in document}
    assert keys == {field.name for field in fields(kind)}


def test_every_kept_case_has_its_complaint():
    assert {f"{path.parent.name}/{path.name}" for path in KEPT} == set(COMPLAINTS)


@pytest.mark.parametrize("path", KEPT, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_what_once_broke_a_reader_is_refused_in_one_line(path):
    complaint = COMPLAINTS[f"{path.parent.name}/{path.name}"]
    with pytest.raises(ProvenanceError, match=complaint) as refused:
        TARGETS[path.parent.name](path.read_bytes())
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", TARGETS)
def test_mutations_of_documents_are_refused_or_read(name):
    seeds = SEEDS[name]
    for case in range(CASES):
        data = mutation(name, seeds[case % len(seeds)], case)
        assert attempt(name, data) in {True, False}


@pytest.mark.parametrize("name", TARGETS)
def test_mutations_of_bytes_are_refused_or_read(name):
    for case in range(BYTES):
        data = mutate("bytes", SEEDS[name][case % len(SEEDS[name])], case, SEEDS[name])
        assert attempt(name, data) in {True, False}


def test_a_mutation_is_of_its_seed_alone():
    for name, seeds in SEEDS.items():
        made = [[mutation(name, seeds[0], case) for case in range(20)] for _ in range(2)]
        assert made[0] == made[1]
        assert len(set(made[0])) > 15


@pytest.mark.parametrize("name", sorted(TARGETS.keys() - {"envelope", "pickled"}))
def test_most_mutations_are_still_documents(name):
    """What a byte's change is not: of JSON, it breaks the syntax in most cases."""
    assert sum(_is_document(KINDS.get(name, "json"), name, case) for case in range(100)) > 50


def _is_document(kind, name, case):
    try:
        FORMATS[kind].read(mutation(name, SEEDS[name][0], case))
    except (ValueError, RecursionError, yaml.YAMLError):
        return False
    return True


def test_a_mutation_of_an_envelope_is_mostly_one_of_the_statement_in_it():
    sound = [case for case in range(100) if _is_document("json", "envelope", case)]
    made = [json.loads(mutation("envelope", ENVELOPE, case)) for case in sound]
    packed = [fields for fields in made if isinstance(fields, dict) and "payload" in fields]
    texts = [b64decode(f["payload"]) for f in packed if isinstance(f["payload"], str)]
    assert len({text for text in texts if b'"predicate' in text} - {STATEMENT}) > 40
