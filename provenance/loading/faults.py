"""What went wrong in transformers' loaders, in one line that says what to do."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import torch

from provenance.checkpoints.contents import text_part
from provenance.errors import DeviceError, SourceError, one_line

if TYPE_CHECKING:
    from provenance.checkpoints.checkpoint import Checkpoint


def refuse_nonfinite(checkpoint: Checkpoint, name: str, tensor: torch.Tensor) -> None:
    """Refuse weights of which nothing can be computed.

    Raises
    ------
    SourceError
        One of the numbers is NaN or infinite; the message names the model and the parameter.
    """
    if not _is_finite(tensor):
        raise SourceError(
            f"{checkpoint.source}: {name} holds NaN or infinity; the checkpoint is broken"
        )


def _is_finite(tensor: torch.Tensor) -> bool:
    if not tensor.is_floating_point() or tensor.numel() == 0:
        return True
    values = tensor.float() if tensor.element_size() == 1 else tensor  # float8 has no aminmax
    return all(bool(torch.isfinite(extreme)) for extreme in torch.aminmax(values))


def explain(error: Exception, checkpoint: Checkpoint, device: str) -> SourceError | DeviceError:
    """The one line for a fault that transformers or torch raised while it built or loaded a model."""
    text = one_line(error)
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or "DefaultCPUAllocator" in text:
        return DeviceError(
            f"{checkpoint.source} does not fit into the memory of {device}; "
            "load it in a smaller dtype, or on another device"
        )
    if isinstance(error, ImportError):
        return SourceError(
            f"{checkpoint.source}: {_quantization(checkpoint)}{_first_sentence(error)}"
            f"{_remedy(error)}"
        )
    if "Unrecognized configuration class" in text:
        return SourceError(
            f"{checkpoint.source}: {checkpoint.model_type!r} is not a causal language model, "
            f"and none is inside of it{_encoder(checkpoint)}; only those can be loaded whole: name a "
            "component (encoder, decoder)"
        )
    return SourceError(
        f"{checkpoint.source}: transformers cannot load it ({type(error).__name__}: {text})"
    )


def _encoder(checkpoint: Checkpoint) -> str:
    """What a configuration calls the model inside, where that encodes its text."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    name = text_part(checkpoint.config).get("model_type")
    if name not in CONFIG_MAPPING or not getattr(CONFIG_MAPPING[name], "is_encoder_decoder", False):
        return ""
    return f" ({name!r}, which is, encodes its text: use csu_all, which runs no model)"


def _quantization(checkpoint: Checkpoint) -> str:
    settings = checkpoint.config.get("quantization_config")
    method = settings.get("quant_method") if isinstance(settings, dict) else None
    return f"it is quantized ({method}), and a library for that is absent: " if method else ""


def _remedy(error: BaseException) -> str:
    """What to install, where transformers says it behind its first sentence."""
    said = re.search(r"pip install [\w.-]*\w", str(error))
    return f"; {said[0]}" if said and said[0] not in _first_sentence(error) else ""


def _first_sentence(error: BaseException) -> str:
    return one_line(error).split(". ")[0].rstrip(".")
