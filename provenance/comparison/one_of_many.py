"""What is compared of a model and one of many references, for `identify` and claims of the nearest kin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provenance.comparison.plan import Comparison
from provenance.statistics import default_statistic
from provenance.vocabulary import DEFAULT_STATISTIC

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provenance.suite.claims import Claim, Suite
    from provenance.vocabulary import InputsSpec, ModelSpec, StatisticName


def looks(suite: Suite, claim: Claim, references: Mapping[str, ModelSpec]) -> dict[str, Comparison]:
    """The last look at each of the references of a claim of the nearest kin, by name.

    Most are settled before, and cost less.
    """
    wholes = {
        name: of_one_of_many(
            suite.models[claim.candidate],
            reference,
            suite.inputs,
            statistic_of_many(claim),
            exhaustive=claim.exhaustive,
        )
        for name, reference in references.items()
    }
    return {name: whole.of_files() or whole for name, whole in wholes.items()}


def statistic_of_many(claim: Claim) -> StatisticName | None:
    """The statistic that a claim of the nearest kin names; None where each reference has its default."""
    return None if claim.statistic == DEFAULT_STATISTIC else claim.statistic


def of_one_of_many(
    model: ModelSpec,
    reference: ModelSpec,
    inputs: InputsSpec,
    statistic: StatisticName | None,
    *,
    exhaustive: bool,
) -> Comparison:
    """The comparison of a model with one of many references, whole."""
    named = statistic or default_statistic(model, reference)
    return Comparison.of(model, reference, inputs, named, control=exhaustive)
