"""Finds what stands around the MLPs, by names and shapes: norms, the table of tokens, routers."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING

from provenance.architecture.by_names.numbered import shown
from provenance.architecture.by_names.words import (
    AFTER_ATTENTION,
    AFTER_MLP,
    ATTENTION,
    BEFORE,
    EMBEDDINGS,
    HEADS,
    NORM,
    OF_ATTENTION,
    ROUTERS,
    SECOND,
)

if TYPE_CHECKING:
    import re
    from collections.abc import Iterable, Mapping, Sequence

    from provenance.architecture.by_names.numbered import Path, Shape
    from provenance.vocabulary import NormKind


@dataclass(frozen=True)
class NormAt:
    """A norm before an MLP, and what it is taken for.

    ``kind`` "rms" or "layer": hidden states over their root mean square, or their mean taken out first.
    They are multiplied by the parameter ``weight`` plus ``offset``, and ``bias`` is added.
    """

    kind: NormKind
    offset: float
    weight: str
    bias: str | None


def norms_of(block: Mapping[Path, Shape], holders: Iterable[Path]) -> dict[str, int]:
    """The norms of a block and their widths, outside of attention and of what holds MLPs."""
    # what lies in a norm, as the matrices that gate it do, is no MLP
    inside = {holder[0] for holder in holders if holder and not NORM.search(holder[0])}
    return {
        ".".join(path[:-1]): shape[0]
        for path, shape in block.items()
        if len(shape) == 1
        and 1 < len(path) <= DEEPEST
        and path[-1] == "weight"
        and NORM.search(path[-2])
        and not _in_attention(path[:-2])
        and (len(path) == 2 or path[0] not in inside or BEFORE[0].search(path[-2]))
    }


DEEPEST = 3
"""Parts of a norm's name within its block."""


def attends(block: Mapping[Path, Shape]) -> bool:
    """Whether a block has attention, by its names."""
    return any(_in_attention(path[:-1]) for path in block)


def _in_attention(path: Path) -> bool:
    """Whether a part of a path is attention, and not a norm that is called after it."""
    return any(ATTENTION.search(part) and not NORM.search(part) for part in path)


def norm_before(
    names: Iterable[str], *, with_attention: bool = False
) -> str | Sequence[str] | None:
    """Which of a block's norms stands before its MLP, by its name.

    Two norms that are both called after the MLP leave a choice ``with_attention``: one of them is then of
    attention, whatever it is called.

    Returns
    -------
    str or sequence of str or None
        The norm's path in the block. Several where the names leave a choice; none of them where there is
        no norm at all. None where the MLP reads the residual stream as it is: norms stand behind attention
        and behind the MLP, and none before.
    """
    every = sorted(names)
    own = [name for name in every if "." not in name]  # others are parts of something

    def called(words: re.Pattern[str]) -> list[str]:
        return [name for name in own if words.search(name)]

    for words in BEFORE:
        found = called(words) or [name for name in every if words.search(name.rpartition(".")[2])]
        if found:
            if with_attention and len(every) > 1 and {*found, *called(AFTER_MLP)} == {*every}:
                return every
            return found[0] if len(found) == 1 else found
    after_attention, after_mlp = called(AFTER_ATTENTION), called(AFTER_MLP)
    if after_attention and after_mlp and not called(OF_ATTENTION):
        is_all = len(every) == len(after_attention) + len(after_mlp)
        return None if is_all else every
    second, only = called(SECOND), own if own == every else []
    return next((names[0] for names in (after_attention, second, only) if len(names) == 1), every)


def tables_of_tokens(outside: Mapping[str, Shape], *, tied: bool) -> dict[str, int]:
    """What may be a table of tokens, by its name, and how wide it is; a tied head where there is none."""
    called: dict[str, dict[str, int]] = defaultdict(dict)
    for name, shape in outside.items():
        *_, last = name.removesuffix(".weight").rsplit(".", 1)
        if len(shape) == 2:
            called[last][name] = shape[1]
    words = (*EMBEDDINGS, *(HEADS if tied else ()))
    return next((called[word] for word in words if word in called), {})


def shared_with(path: str, name: str) -> int:
    """How many parts two paths have in common, from the first."""
    pairs = zip(path.split("."), name.split("."), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def nearest(names: Iterable[str], stack: str) -> list[str]:
    """The names that have most in common with the path of a list of blocks."""
    shared = {name: shared_with(stack, name) for name in names}
    most = max(shared.values(), default=0)
    return sorted(name for name, count in shared.items() if count == most)


def router_of(block: Mapping[Path, Shape], holder: Path, hidden: int, experts: int) -> Path | None:
    """The matrix that chooses among the experts below a holder: it has a row for each of them."""
    for length in range(len(holder), -1, -1):
        for words in ROUTERS:
            for path in ((*holder[:length], *words, "weight"), (*holder[:length], *words)):
                shape = block.get(path, ())
                if len(shape) == 2 and shape[1] == hidden and shape[0] >= max(experts, 1):
                    return path
    return None


def choices_text(names: Sequence[str]) -> str:
    """Names that a person can choose among, as a message has them."""
    few = [shown(name) for name in names[:3]]
    return " or ".join(few) + (f" or {len(names) - 3} more" if len(names) > 3 else "")
