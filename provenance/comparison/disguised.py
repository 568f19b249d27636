"""The positive control: a copy of a model in a disguise that keeps its function.

A test that does not find that copy dependent has no power on this model, and its "independent" means
nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from provenance.errors import ArchitectureError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from transformers import PreTrainedModel

    from provenance.checkpoints.checkpoint import Checkpoint
    from provenance.vocabulary import Disguise

DISGUISE_VERSION = 1
"""Raised whenever the same model would give another disguised copy in the store."""


def save_disguised(checkpoint: Checkpoint, folder: Path, disguise: Disguise = "all") -> None:
    """Save a copy of a model with the same function.

    Its hidden units are permuted, and where the model is laid out like Llama rescaled and sign-flipped;
    experts are permuted where a router is found; in disguise "all" the residual stream is permuted too,
    where all parameters are known. The tokenizer is copied as it is.

    Raises
    ------
    ArchitectureError
        If the model has no MLP whose units can be permuted.
    """
    import shutil

    from provenance._quiet import quiet
    from provenance.checkpoints.folder import TOKENIZER_FILES
    from provenance.loading.model import load_model
    from provenance.transforms import permute_residual_stream

    with quiet():
        model = load_model(checkpoint, "cpu", checkpoint.spec.dtype, head=False)
        disguised = _other_units(model)
        if disguise == "all":
            disguised = _if_known(permute_residual_stream, disguised)
        disguised.save_pretrained(folder)
    for name in TOKENIZER_FILES:
        if (checkpoint.folder / name).is_file():
            shutil.copyfile(checkpoint.folder / name, folder / name)


def _other_units(model: PreTrainedModel) -> PreTrainedModel:
    from provenance.transforms import (
        permute_experts,
        permute_mlp_units,
        permute_traced_units,
        rescale_mlp,
    )

    try:
        return rescale_mlp(permute_mlp_units(model, seed=1), seed=2, signs=True)
    except ArchitectureError as unknown:
        try:
            permuted = permute_traced_units(model, seed=1)
        except ArchitectureError:
            raise unknown from None
    return _if_known(permute_experts, permuted)


def _if_known(disguise: Callable[..., PreTrainedModel], model: PreTrainedModel) -> PreTrainedModel:
    """A further disguise, on models that it is known on."""
    try:
        return disguise(model, seed=3)
    except ArchitectureError:
        return model
