"""Reads a checkpoint's configuration as transformers does, without what says how it was run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from provenance._quiet import quiet

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

    from provenance.checkpoints.checkpoint import Checkpoint

KERNELS = {
    "_attn_implementation": frozenset({None, "eager", "sdpa"}),
    "_experts_implementation": frozenset({None, "batched_mm", "eager", "grouped_mm"}),
}
"""Which kernels a configuration may ask for: those that torch brings by itself, on any device."""


def read_configuration(checkpoint: Checkpoint) -> PreTrainedConfig:
    """Read a configuration; a kernel that needs a library or a GPU of its own is replaced by the usual one.

    Which kernel computes attention is none of the weights. What goes wrong raises whatever the family's
    code does.
    """
    from transformers import AutoConfig

    with quiet():
        config: PreTrainedConfig = AutoConfig.from_pretrained(
            checkpoint.folder, local_files_only=True, trust_remote_code=checkpoint.remote_code
        )
    for name, kept in KERNELS.items():
        if any(_asked(part, name) not in kept for part in _parts(config)):
            setattr(config, name, None)
    return config


def _parts(config: Any) -> list[Any]:
    """A configuration and those inside of it."""
    inner = (getattr(config, key, None) for key in getattr(config, "sub_configs", None) or ())
    return [config, *(found for part in inner if part is not None for found in _parts(part))]


def _asked(config: Any, name: str) -> str | None:
    asked = getattr(config, name, None)
    return asked if asked is None or isinstance(asked, str) else "several"
