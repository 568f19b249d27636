"""What a suite claims: `Suite`, `Claim` and `Blocks`, and how they follow from a checked document."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from provenance._text import expanded, without_home
from provenance.statistics import default_statistic
from provenance.suite.alphas import block_alphas, whole_alpha
from provenance.suite.trees import nodes
from provenance.suite.yaml12 import Mark  # noqa: TC001 - part of the public dataclasses
from provenance.vocabulary import (
    DEFAULT_ALPHA,
    DEFAULT_STATISTIC,
    MEASURED,
    NO_KIN,
    PERMUTATIONS,
    SHARE_TOLERANCE,
    Controls,
    Expectation,
    Inconclusive,
    InputsSpec,
    KindCheck,
    LayoutSpec,
    MLPNames,
    ModelSpec,
    Scope,
    StatisticName,
    Thresholds,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from provenance.suite.schema import (
        InputsDocument,
        LayoutDocument,
        ModelDocument,
        PairDocument,
        SuiteDocument,
    )
    from provenance.suite.yaml12 import Document

_T = TypeVar("_T")


@dataclass(frozen=True)
class Blocks:
    """Blocks that must show a claim: some by number, a share, or all if both are None.

    ``cross`` compares each block with every block of the reference, wherever it has been moved.
    """

    indices: tuple[int, ...] | None = None
    at_least: float | None = None
    cross: bool = False


@dataclass(frozen=True)
class Claim:
    """One claim of a suite, with the `defaults` filled in.

    A pair with several statistics makes a claim for each. ``threshold`` is ``alpha`` divided by the number
    of claims in the file (Bonferroni), so that no selection of tests changes it. ``mark`` is the position
    of the value of ``expect``, or of the candidate in the lineage. ``inconclusive`` says whether a claim
    that cannot be decided warns or fails. ``exhaustive`` has every part of the statistic measured on every
    pair of blocks. ``block_alphas`` holds the blocks with an alpha of their own, in the order of their
    indices. With a ``sample``, so many blocks and experts are compared, read in part; ``scope`` says
    whether no more is claimed, which a claim of independence has to say.
    ``kind`` says whether the kind of descent that is claimed must be seen in the weights; results
    of older versions do not, and mean any. ``parents`` are those of a merge, each with the share that is
    claimed of it, or None; the reference is one of them. A share may be off by ``tolerance``. A claim that
    is ``given`` a base, which both descend from, is of what they share beyond it.
    A claim of the nearest kin is of many references: the models ``among``, and those of a ``library``, a
    path relative to the suite. Its ``reference`` is the one that is claimed, or `NO_KIN`. Kinship, its
    statistic by default, is then what a fingerprint carries, where a reference is one.
    """

    id: str
    candidate: str
    reference: str
    expect: Expectation
    statistic: StatisticName
    alpha: float
    threshold: float
    blocks: Blocks
    tags: tuple[str, ...]
    xfail: str | None
    skip: str | None
    mark: Mark
    permutations: int = PERMUTATIONS
    inconclusive: Inconclusive = "fail"
    exhaustive: bool = False
    block_alphas: tuple[tuple[int, float], ...] = ()
    sample: int | None = None
    scope: Scope = "whole"
    kind: KindCheck = "any"
    among: tuple[str, ...] = ()
    library: str | None = None
    parents: tuple[tuple[str, float | None], ...] = ()
    tolerance: float = SHARE_TOLERANCE
    given: str | None = None

    @property
    def wants_difference(self) -> bool:
        """Whether it asks for the kind of descent, which is read off the difference of the weights."""
        return self.kind == "measured" and self.expect in MEASURED and not self.parents

    @property
    def wants_parents(self) -> bool:
        """Whether it names the parents of a merge, whose shares are measured."""
        return self.expect == "merge" and bool(self.parents)

    @property
    def thresholds(self) -> Thresholds:
        """The claim's threshold, and those of blocks with an alpha of their own, divided as it is."""
        share = self.threshold / self.alpha
        return Thresholds(self.threshold, {i: alpha * share for i, alpha in self.block_alphas})


@dataclass(frozen=True)
class Suite:
    """One suite file; the local paths in ``models`` and ``inputs`` are absolute.

    ``lineage`` has every model of the declared trees with its parent (None for a root), parents first.
    ``digest`` is "sha256:..." of the file's bytes. ``exhibits`` says whether those are measured,
    and ``distances`` whether those of kin are.
    """

    path: Path
    inputs: InputsSpec
    models: Mapping[str, ModelSpec]
    claims: tuple[Claim, ...]
    controls: Controls = "power"
    digest: str = ""
    lineage: tuple[tuple[str, str | None], ...] = ()
    exhibits: bool = False
    distances: bool = False

    @cached_property
    def kinds_of(self) -> frozenset[tuple[ModelSpec, ModelSpec]]:
        """Candidates and references of which a claim asks for the kind: their claims share evidence."""
        asking = [claim for claim in self.claims if claim.wants_difference]
        return frozenset((self.models[c.candidate], self.models[c.reference]) for c in asking)


def suite_of(checked: SuiteDocument, document: Document, path: Path) -> Suite:
    """Make the claims of a suite, written and implied, from its checked document."""
    folder = path.absolute().parent
    pairs = [*_written_pairs(checked, document), *_implied_pairs(document)]
    count = sum(len(_statistics(pair, checked)) for pair, _ in pairs)
    claims = tuple(
        _claim(pair, checked, mark, statistic, count)
        for pair, mark in pairs
        for statistic in _statistics(pair, checked)
    )
    return Suite(
        path=path,
        inputs=inputs_of(checked.inputs, folder),
        models=models_of(checked.models, folder, layout_lines(document, path)),
        claims=claims,
        controls=checked.controls,
        exhibits=checked.exhibits,
        distances=checked.distances,
        lineage=tuple((node.name, node.parent) for node in nodes(checked.lineage)),
    )


def _written_pairs(
    checked: SuiteDocument, document: Document
) -> Iterator[tuple[PairDocument, Mark]]:
    for i, pair in enumerate(checked.pairs):
        yield pair, document.values["pairs", i, "expect"]


def _implied_pairs(document: Document) -> Iterator[tuple[PairDocument, Mark]]:
    """Yield the pairs of the lineage, each at the line of its candidate."""
    from provenance.suite.rules import implied_pairs
    from provenance.suite.schema import PairDocument

    for kin in implied_pairs(document.value):
        yield (
            PairDocument(
                candidate=kin.candidate.name, reference=kin.reference.name, expect=kin.expect
            ),
            document.keys[kin.candidate.at],
        )


def inputs_of(inputs: InputsDocument, folder: Path) -> InputsSpec:
    """Make the inputs that a file in ``folder`` declares; paths become absolute."""
    spec = InputsSpec(**inputs.model_dump())
    if spec.text in {"stdlib", "topics"}:
        return spec
    return InputsSpec(**{**inputs.model_dump(), "text": absolute(spec.text, folder)})


def layout_lines(document: Document, path: Path) -> dict[str, str]:
    """File and line of what is said of each model's layout, by the model's name."""
    return {
        str(key[1]): f"{path}:{mark.line}"
        for key, mark in document.keys.items()
        if len(key) == 3 and key[0] == "models" and key[2] == "layout"
    }


def models_of(
    models: Mapping[str, ModelDocument], folder: Path, lines: Mapping[str, str]
) -> dict[str, ModelSpec]:
    """Make every model; a base that names another model becomes that model.

    ``lines`` is from `layout_lines`.
    """

    def made(name: str) -> ModelSpec:
        spec = _model(models[name], folder, lines.get(name))
        # this ends: `provenance.suite.rules` has refused a circle
        return replace(spec, base=made(spec.base)) if spec.base in models else spec  # type: ignore[arg-type]

    return {name: made(name) for name in models}


def _model(model: ModelDocument, folder: Path, where: str | None) -> ModelSpec:
    given = model.model_dump()
    given["layout"] = None if model.layout is None else layout_of(model.layout, where)
    if model.path is not None:
        given["path"] = absolute(model.path, folder)
    if model.base is not None and model.base.startswith(("./", "../")):
        given["base"] = absolute(model.base, folder)
    return ModelSpec(**given)


def layout_of(said: LayoutDocument, where: str | None) -> LayoutSpec:
    """Make what a file says of a model's tensors; ``where`` names the file and the line."""
    fields = said.model_dump(exclude={"gate", "up", "down", "shared", "experts"})
    dense = None
    if said.up is not None and said.down is not None:
        dense = MLPNames(said.up, said.down, said.gate)
    shared, experts = (
        None if names is None else MLPNames(names.up, names.down, names.gate)
        for names in (said.shared, said.experts)
    )
    return LayoutSpec(dense=dense, shared=shared, experts=experts, where=where, **fields)


def absolute(path: str, folder: Path) -> str:
    """Make a path absolute that a file in ``folder`` names; ``~`` is the home folder."""
    # Lexically: whether the file is there, and what it links to, is seen where it is opened.
    return os.path.normpath(folder / expanded(path))


def _statistics(pair: PairDocument, suite: SuiteDocument) -> list[StatisticName]:
    """Return the statistics of a pair; each makes a claim."""
    default: StatisticName = DEFAULT_STATISTIC
    if pair.reference is not None:
        default = default_statistic(suite.models[pair.candidate], suite.models[pair.reference])
    named = _first(pair.statistic, suite.defaults.statistic, default)
    return named if isinstance(named, list) else [named]


def _claim(
    pair: PairDocument, suite: SuiteDocument, mark: Mark, statistic: StatisticName, claims: int
) -> Claim:
    from provenance.suite.rules import claim_id

    defaults = suite.defaults
    alpha = _first(whole_alpha(pair.alpha), defaults.alpha, DEFAULT_ALPHA)
    nearest = pair.nearest
    name = claim_id(pair.candidate, pair.reference, pair.id, nearest)
    claim = Claim(
        id=name if len(_statistics(pair, suite)) == 1 else f"{name}-{statistic}",
        candidate=pair.candidate,
        reference=pair.reference or nearest or NO_KIN,
        expect=pair.relationship,
        statistic=statistic,
        alpha=alpha,
        threshold=alpha / claims,
        blocks=_blocks(_first(pair.blocks, defaults.blocks, "all")),
        tags=tuple(dict.fromkeys(_first(pair.tags, defaults.tags, []))),
        xfail=_one_line(pair.xfail),
        skip=_one_line(pair.skip),
        mark=mark,
        permutations=_first(pair.permutations, defaults.permutations, PERMUTATIONS),
        inconclusive=_first(pair.inconclusive, defaults.inconclusive, "fail"),
        exhaustive=_first(pair.exhaustive, defaults.exhaustive, False),  # noqa: FBT003
        block_alphas=block_alphas(pair.alpha),
        sample=_first(pair.sample, defaults.sample, None),
        scope=_first(pair.scope, defaults.scope, "whole"),
        kind=_first(pair.kind, defaults.kind, "measured"),
        parents=tuple(pair.shares.items()),
        tolerance=_first(pair.tolerance, None, SHARE_TOLERANCE),
        given=pair.given,
    )
    return claim if nearest is None else _of_many(claim, pair, suite)


def _of_many(claim: Claim, pair: PairDocument, suite: SuiteDocument) -> Claim:
    """The claim of the nearest kin: what the defaults say of single pairs does not hold for it."""
    others = [name for name in suite.models if name != pair.candidate]
    among = others if pair.among is None and pair.library is None else pair.among or ()
    return replace(
        claim,
        blocks=Blocks(),
        sample=None,
        scope="whole",
        kind="any",
        among=tuple(among),
        library=None if pair.library is None else without_home(pair.library),
    )


def _first(own: _T | None, default: _T | None, otherwise: _T) -> _T:
    if own is not None:
        return own
    return default if default is not None else otherwise


def _blocks(blocks: Any) -> Blocks:
    if blocks == "all":
        return Blocks()
    if isinstance(blocks, list):
        return Blocks(indices=tuple(blocks))
    if blocks == "cross":
        return Blocks(cross=True)
    return Blocks(at_least=blocks.at_least)


def _one_line(reason: str | None) -> str | None:
    return None if reason is None else " ".join(reason.split())
