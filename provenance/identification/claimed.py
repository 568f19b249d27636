"""From a suite's claim of the nearest kin to what its references show, by the search of `identify`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from provenance._text import closest, without_home
from provenance.comparison.one_of_many import statistic_of_many
from provenance.errors import SourceError
from provenance.identification.library import is_library, read_library
from provenance.identification.references import fingerprints_of, references_of
from provenance.identification.run import identify
from provenance.suite.claims import absolute
from provenance.vocabulary import NO_KIN

if TYPE_CHECKING:
    from provenance.comparison.executor import Executor
    from provenance.evidence.relatives import Identification
    from provenance.suite.claims import Claim, Suite
    from provenance.vocabulary import ModelSpec

SHOWN = 8
"""Names that an error lists."""


def identify_claimed(suite: Suite, claim: Claim, executor: Executor) -> Identification:
    """Measure what the references of a claim of the nearest kin show, at the claim's threshold.

    Raises
    ------
    ProvenanceError
        If the candidate cannot be had, the library is unsound, or what the claim names is no reference.
    """
    return identify(
        suite.models[claim.candidate],
        references_of_claim(suite, claim),
        inputs=suite.inputs,
        statistic=statistic_of_many(claim),
        alpha=claim.threshold,
        exhaustive=claim.exhaustive,
        executor=executor,
    )


def references_of_claim(
    suite: Suite, claim: Claim, *, checked: bool = True
) -> dict[str, ModelSpec]:
    """The references of a claim of the nearest kin: models by their names in the suite, then entries.

    Parameters
    ----------
    checked : bool
        Read every file of the library, and prove that it is what the index says.

    Raises
    ------
    SourceError
        If an entry of the library has the name of such a model, or what the claim names is neither.
    ProvenanceError
        If the library cannot be read, or a file of it is not what the index says.
    """
    found = {name: suite.models[name] for name in claim.among}
    for name, spec in _entries(suite, claim, checked=checked).items():
        if name in found:
            raise SourceError(
                f"{name!r} is a model of the suite and an entry of {claim.library}: rename the model"
            )
        found[name] = spec
    if claim.reference not in {NO_KIN, *found}:
        near = closest(claim.reference, found)
        some = ", ".join(list(found)[:SHOWN]) + (", ..." if len(found) > SHOWN else "")
        hint = f"did you mean {near!r}?" if near else f"there are {some or 'none'}"
        raise SourceError(f"{claim.reference!r} is none of the references: {hint}")
    return found


def _entries(suite: Suite, claim: Claim, *, checked: bool) -> dict[str, ModelSpec]:
    """The fingerprints of the claim's library, by the library's names for them."""
    if claim.library is None:
        return {}
    folder = absolute(claim.library, suite.path.absolute().parent)
    if not Path(folder).is_dir():
        raise SourceError(f"there is no folder {without_home(folder)}: check library: in the suite")
    if not is_library(Path(folder)):
        raise SourceError(
            f"{without_home(folder)} is no library, for want of an index: provenance library add makes one"
        )
    if not checked:
        return fingerprints_of(Path(folder), read_library(Path(folder)))
    home = without_home(folder).rstrip("/")
    named = references_of([folder])
    return {name.removeprefix(f"{home}/"): spec for name, spec in named.items()}
