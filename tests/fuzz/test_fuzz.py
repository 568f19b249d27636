"""Bytes of strangers: what once broke a reader, and a few hundred mutations of what it reads.

``python -m tests.fuzz.run TARGET`` goes on for as long as one likes.
"""

import json
from base64 import b64decode
from pathlib import Path

import pytest
import yaml

from tests.fuzz.mutate import FORMATS, mutate
from tests.fuzz.seeds import ENVELOPE, KINDS, STATEMENT
from tests.fuzz.targets import SEEDS, TARGETS, attempt, mutation

KEPT = sorted((Path(__file__).parent / "corpus").glob("*/*"))
CASES = 200
BYTES = 60
"""Of bytes, without a thought for what they mean."""


@pytest.mark.parametrize("name", TARGETS)
def test_a_seed_is_read(name):
    assert SEEDS[name]
    assert all(attempt(name, seed) for seed in SEEDS[name])


@pytest.mark.parametrize("path", KEPT, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_what_once_broke_a_reader_is_refused_or_read(path):
    assert attempt(path.parent.name, path.read_bytes()) in {True, False}


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


@pytest.mark.parametrize("name", sorted(TARGETS.keys() - {"envelope"}))
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
