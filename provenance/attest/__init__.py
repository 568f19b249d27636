"""Results for other tools: an in-toto attestation, signed with a key or without, a bill of materials.

* In: `evidence.results.Results`, and the checkpoints that are at hand.
* Out: JSON of in-toto, DSSE or CycloneDX.
* Open `statement` first, then `subjects`.

>>> from provenance.attest import make_statement  # doctest: +SKIP
>>> text = make_statement(results, subjects)  # doctest: +SKIP

The formats are made by the libraries of their authors, which the extra ``attest`` installs. Importing
this package imports none of them.
"""

from provenance.attest.bom import bill_of_materials
from provenance.attest.keyless import check_bundle, sign_keyless
from provenance.attest.signing import (
    check_envelope,
    check_payload,
    sign_payload,
    sign_statement,
)
from provenance.attest.statement import PREDICATE, Attested, make_statement, read_statement
from provenance.attest.subjects import Subject, model_digest, recorded_subjects, subjects_of

__all__ = [
    "PREDICATE",
    "Attested",
    "Subject",
    "bill_of_materials",
    "check_bundle",
    "check_envelope",
    "check_payload",
    "make_statement",
    "model_digest",
    "read_statement",
    "recorded_subjects",
    "sign_keyless",
    "sign_payload",
    "sign_statement",
    "subjects_of",
]
