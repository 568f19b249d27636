"""What two models that are compared are fed.

Each reads the same text in its own tokens, and they are compared where both have read the same
characters. Where one text cannot serve both, both are fed the same random ids. `choose` decides and says
why (`PairInputs.note`).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from provenance.inputs.ends import common_ends
from provenance.inputs.tokens import (
    NO_EMBEDDING,
    Inputs,
    as_inputs,
    fit_length,
    has_embeddings,
    random_inputs,
    source_text,
)

if TYPE_CHECKING:
    import torch

    from provenance.inputs.tokens import Reader
    from provenance.loading.tokenizer import TokenizedText
    from provenance.vocabulary import InputsSpec

    Positions = tuple[torch.Tensor, torch.Tensor]

LEAST_COMMON = 64
"""Fewest common positions that a text is used for.

Over n positions, correlations of strangers reach sqrt(2 ln(units) / n) by chance: one half for 4096 units
and 64 positions. Below that few of a relative's units find their partners, and the text would be no better
than random ids.
"""

DIFFERENT = "random ids: the two tokenizers give different ids for the text"


@dataclass(frozen=True)
class PairInputs:
    """What each of two models is fed, and which of its token positions are compared.

    Attributes
    ----------
    candidate, reference : Inputs
        Of one kind, in sequences of one length.
    positions : tuple of Tensor or None
        Of the candidate's ids and of the reference's, each (common,) int64; None where all are compared.
    note : str or None
        What was chosen, and why, where it is not what was asked.
    borrowed : bool
        Whether the candidate read by the reference's tokenizer.
    """

    candidate: Inputs
    reference: Inputs
    positions: Positions | None = None
    note: str | None = None
    borrowed: bool = False

    @property
    def spec(self) -> InputsSpec:
        """Kind, text, seed and length of the sequences, which both share."""
        return self.candidate.spec

    @property
    def tokens(self) -> int:
        """How many positions are compared."""
        return len(self.candidate.ids if self.positions is None else self.positions[0])

    def of_reference(self) -> PairInputs:
        """What the reference is fed and where it is compared, for both."""
        positions = None if self.positions is None else (self.positions[1], self.positions[1])
        return replace(self, candidate=self.reference, positions=positions, borrowed=False)

    def distinct(self) -> tuple[int, int]:
        """How many different ids the candidate and the reference are fed where they are compared."""
        first, second = self.candidate.ids, self.reference.ids
        if self.positions is not None:
            first, second = first[self.positions[0]], second[self.positions[1]]
        return len(set(first.tolist())), len(set(second.tolist()))

    @property
    def digest(self) -> str:
        """sha256 of all that both are fed and of what is compared, whichever is the candidate."""
        if self.positions is None and self.candidate.digest == self.reference.digest:
            return self.candidate.digest
        sides = [self.candidate.digest.encode(), self.reference.digest.encode()]
        if self.positions is not None:
            sides = [
                side + b":" + at.numpy().tobytes()
                for side, at in zip(sides, self.positions, strict=True)
            ]
        return "sha256:" + hashlib.sha256(b";".join(sorted(sides))).hexdigest()


def choose(
    spec: InputsSpec, candidate: Reader, reference: Reader, *, same_ids: bool = False
) -> PairInputs:
    """Inputs that are legitimate for both models, with a note where they are not what was asked.

    A model reads the text by its own tokenizer. A candidate that has none reads it by the reference's,
    where the vocabularies are of one size; never the other way round, since a tokenizer can know that it
    is audited. Where the ids differ, positions are compared at which both have a token that ends at
    the same character. Both are fed the same random ids, below both vocabularies, where a tokenizer is
    missing, has ids without an embedding, or does not say where its tokens end. Random ids serve as well
    where fewer than `LEAST_COMMON` positions are common, or less than half of those asked for, if that is
    fewer. Sequences are no longer than either model has positions for.

    Parameters
    ----------
    same_ids : bool
        Use a text only where both are fed the very same ids.

    Raises
    ------
    InputError
        If the text gives fewer tokens than are asked for, or there is no such text.
    """
    notes: list[str] = []
    spec = fit_length(spec, (candidate, reference), notes)
    chosen = None
    if spec.kind == "text":
        chosen = _text(spec, candidate, reference, notes, same_ids=same_ids)
    if chosen is None:
        ids = random_inputs(spec, min(candidate.vocabulary, reference.vocabulary))
        chosen = PairInputs(ids, ids)
    return replace(chosen, note="; ".join(notes) or None)


def _text(
    spec: InputsSpec, candidate: Reader, reference: Reader, notes: list[str], *, same_ids: bool
) -> PairInputs | None:
    """The text for both, or None with a note that says why not."""
    if reference.read is None:
        whose = reference.name if candidate.read is not None else "neither model"
        notes.append(f"random ids: {whose} has {'no' if candidate.read else 'a'} tokenizer")
        return None
    if candidate.read is None and candidate.vocabulary != reference.vocabulary:
        notes.append(f"random ids: {candidate.name} has no tokenizer and the vocabularies differ")
        return None
    text = source_text(spec)
    texts = (candidate.read or reference.read)(text), reference.read(text)
    fed = as_inputs(texts[0], spec, candidate), as_inputs(texts[1], spec, reference)
    if not (has_embeddings(fed[0], candidate) and has_embeddings(fed[1], reference)):
        notes.append(NO_EMBEDDING)
        return None
    if fed[0].ids.equal(fed[1].ids) and not (same_ids and fed[0].front != fed[1].front):
        if candidate.read is None:
            notes.append(
                f"{candidate.name} has no tokenizer: that of {reference.name} was used for both"
            )
        return PairInputs(*fed, borrowed=candidate.read is None)
    positions = None if same_ids else _common(spec, texts, notes)
    if same_ids:
        notes.append(DIFFERENT)
    return None if positions is None else PairInputs(*fed, positions)


def _common(
    spec: InputsSpec, texts: tuple[TokenizedText, TokenizedText], notes: list[str]
) -> Positions | None:
    """Where both texts have a token that ends at the same character; a note says how many those are."""
    ends = [None if text.ends is None else text.ends[: spec.tokens] for text in texts]
    if ends[0] is None or ends[1] is None:
        notes.append(f"{DIFFERENT}, and one does not say where its tokens end")
        return None
    positions = common_ends(ends[0], ends[1])
    number = len(positions[0])
    if number < min(LEAST_COMMON, spec.tokens // 2):
        notes.append(f"{DIFFERENT}, and end a token at the same character at {number} positions")
        return None
    notes.append(
        f"text in two tokenizations: {number} positions where both have a token that ends at the same "
        "character"
    )
    return positions
