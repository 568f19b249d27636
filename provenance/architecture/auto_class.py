"""Which of transformers' loaders builds the language model that a configuration describes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from provenance._quiet import quiet

if TYPE_CHECKING:
    from transformers import PretrainedConfig


def auto_class(config: PretrainedConfig) -> Any:
    """The loader for causal models where it knows the family, else one for multimodal models.

    Of a multimodal model the towers are built too; no token goes through them. For a family that none
    knows, or that encodes its text, it is the loader for causal models, which then says so.
    """
    with quiet():
        import transformers

        loaders = [getattr(transformers, name) for name in LOADERS if hasattr(transformers, name)]
        return next((loader for loader in loaders if _builds(loader, config)), loaders[0])


LOADERS = (
    "AutoModelForCausalLM",
    "AutoModelForImageTextToText",
    "AutoModelForMultimodalLM",
)
"""In the order in which they are asked; the last one is not in the first versions of transformers 5."""


def _builds(loader: Any, config: PretrainedConfig) -> bool:
    if getattr(config, "is_encoder_decoder", False):
        return False
    own = getattr(config, "auto_map", None) or {}
    return loader.__name__ in own or type(config) in loader._model_mapping  # noqa: SLF001
