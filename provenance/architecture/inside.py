"""Which part of a model is its language model, where the whole does not run on token ids alone.

Models that look at images or listen need these in every pass, and so do those made of one that thinks and
one that talks. No name of a model or of a module is known here: the part is told from the embedding of
tokens that the whole says is its own, or from the configuration that the whole says is for text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from provenance.architecture.collect import input_embedding
from provenance.architecture.part import Part, mark
from provenance.errors import ArchitectureError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from transformers import PreTrainedModel


def language_model(
    whole: PreTrainedModel, runs: Callable[[PreTrainedModel], bool]
) -> PreTrainedModel:
    """The outermost part that runs on token ids alone; the whole where it does, or where no part does.

    Parameters
    ----------
    whole : PreTrainedModel
        On the meta device.
    runs : callable
        Whether a model runs on token ids alone.

    Raises
    ------
    ArchitectureError
        The language model inside encodes its text.
    """
    if not getattr(whole.config, "sub_configs", None) or runs(whole):
        return whole
    for path, model in _candidates(whole):
        if getattr(model.config, "is_encoder_decoder", False):
            raise ArchitectureError(
                f"{type(whole).__name__}: the language model inside ({path}: {type(model).__name__}) "
                "encodes its text, and only causal ones can be compared: use csu_all, which runs no model"
            )
        if runs(model):
            mark(model, Part(path, type(whole).__name__))
            return model
    return whole


def _candidates(whole: PreTrainedModel) -> Iterator[tuple[str, PreTrainedModel]]:
    """The models inside that embed the tokens of the whole, the outer ones first."""
    from transformers import PreTrainedModel

    table, text = input_embedding(whole), whole.config.get_text_config()
    inner = [
        (path, module)
        for path, module in whole.named_modules()
        if path and isinstance(module, PreTrainedModel)
    ]
    for path, module in sorted(inner, key=lambda one: one[0].count(".")):
        own = input_embedding(module)
        # a whole of several models may not say which of their tables is its own
        is_text = own is table if table is not None else module.config.get_text_config() is text
        if own is not None and is_text:
            yield path, module
