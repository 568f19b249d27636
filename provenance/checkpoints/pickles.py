"""Which pickles of a folder or repository are its weights, told from their names."""

from __future__ import annotations

import re

PICKLE = "pytorch_model.bin"
PICKLE_INDEX = "pytorch_model.bin.index.json"
ADAPTER_PICKLE = "adapter_model.bin"
SUFFIXES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
REMEDY = "pickle can run code; convert it to safetensors"

_SHARD = re.compile(r"(.+)-(\d{5})-of-(\d{5})(\.\w+)")
_PART = re.compile(r"consolidated\.\d\d\.pth|mp_rank_\d\d\w*\.pt|.*_zero_pp_rank_.*\.pt")
_LEFT_BEHIND = re.compile(
    r"(adapter_model|ema|optim|optimizer|random_states|rng_state|rng-state|scaler|scheduler|sentencepiece"
    r"|trainer_state|training_args|value_head|v_head|imatrix)\b.*|optimizer_\d.*|random_states_.*|rng_state_.*"
)
"""What trainers leave beside the weights."""


def pickles(names: list[str]) -> list[str]:
    """Those of some names that can be pickled weights, sorted."""
    return sorted(
        name
        for name in names
        if name.endswith(SUFFIXES) and "/" not in name and not _LEFT_BEHIND.fullmatch(name)
    )


def choose_pickles(names: list[str]) -> tuple[tuple[str, ...], str]:
    """The files that together are the weights, where no index of transformers' says so.

    Returns
    -------
    files : tuple of str
        Empty where that is not sure.
    reason : str
        Why it is not: a predicate. Empty where it is.
    """
    found = [PICKLE] if PICKLE in names else pickles(names)
    if len(found) == 1 and not _SHARD.fullmatch(found[0]):
        return (found[0],), ""
    parts = [name for name in found if _PART.fullmatch(name)]
    if len(parts) > 1:
        return (), (
            f"has each weight cut over {len(parts)} files ({parts[0]}, ...); join them with the script of "
            "their maker, and save the model with transformers"
        )
    shards = [shard for name in found if (shard := _SHARD.fullmatch(name))]
    if shards and len(shards) == len(found):
        return _all_shards(shards)
    if not found:
        return (), "has no pickled weights"
    return (), f"has several pickles ({', '.join(found[:3])}); leave the one that is meant"


def _all_shards(shards: list[re.Match[str]]) -> tuple[tuple[str, ...], str]:
    """All shards of one save, or which is missing."""
    first, there = shards[0], {shard[0] for shard in shards}
    wanted = [
        f"{first[1]}-{number:05}-of-{first[3]}{first[4]}" for number in range(1, int(first[3]) + 1)
    ]
    missing = [name for name in wanted if name not in there]
    if missing:
        return (), f"lacks {missing[0]}; download or save the checkpoint again"
    if len(wanted) < len(there):
        return (
            (),
            f"has shards of several saves ({first[0]}, {max(there - set(wanted))}); leave one",
        )
    return tuple(wanted), ""
