"""The MLPs of a few plain families, known without running them: what their traces are.

Importing a family's code takes longer than all else that a comparison of weights does. For the families of
`FAMILIES` the trace follows from the configuration and from the names and shapes of the stored tensors.
It is given only where every tensor of every block is the one that is expected. All other models are traced.
The tests compare what is known here with the trace of each family.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from provenance.architecture.records import (
    Channels,
    Embedding,
    HiddenInput,
    MLPRecord,
    Projection,
    Trace,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

Shape = tuple[int, ...]

FAMILIES = {
    "gemma2": "Gemma2ForCausalLM",
    "gemma3_text": "Gemma3ForCausalLM",
    "granite": "GraniteForCausalLM",
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "olmo2": "Olmo2ForCausalLM",
    "olmo3": "Olmo3ForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "smollm3": "SmolLM3ForCausalLM",
}
"""The class that transformers makes of a family. In each, a block has one MLP of three linear maps with the
names of `_MLP`, whatever its configuration says of anything but sizes, biases and the activation."""

EMBEDDING = "model.embed_tokens.weight"
GEMMAS = frozenset({"gemma2", "gemma3_text"})
"""Families with a norm of their own name before the MLP, which multiplies by its weight plus 1."""
WITHOUT_NORM = frozenset({"olmo2", "olmo3"})
"""Families whose MLPs read the residual stream as it is."""

ACTIVATIONS = {
    "gelu": "GELUActivation",
    "gelu_pytorch_tanh": "GELUTanh",
    "silu": "SiLUActivation",
}

STACK = "model.layers"
_MLP = ("gate_proj", "up_proj", "down_proj")
_IN_BLOCK = re.compile(r"model\.layers\.(0|[1-9]\d*)\.(.+)")
_ATTENTION = re.compile(r"self_attn\.([qkvo]_proj\.(weight|bias)|[qk]_norm\.weight)")
_NORM = re.compile(r"\w+_layernorm\.weight")
HEAD = "lm_head.weight"
_OUTSIDE = {EMBEDDING, "model.norm.weight", HEAD}
_COUNTS = ("num_hidden_layers", "hidden_size", "intermediate_size")


def known_trace(config: Mapping[str, Any], tensors: Mapping[str, Shape]) -> Trace | None:
    """What the trace of a model is, where that is sure without its code.

    Parameters
    ----------
    config : Mapping
        The configuration as ``config.json`` has it.
    tensors : Mapping
        The shape of every stored tensor by its name.

    Returns
    -------
    Trace or None
        None where the family is another, or anything is not as expected.
    """
    family = config.get("model_type")
    architecture = FAMILIES.get(family) if isinstance(family, str) else None
    sizes = [config.get(key) for key in _COUNTS]
    if architecture is None or not all(type(size) is int and size > 0 for size in sizes):
        return None
    blocks, hidden, units = (int(size) for size in sizes if size is not None)
    activation = ACTIVATIONS.get(_activation(config))
    if activation is None or not _is_plain(config, architecture):
        return None
    if not _as_expected(tensors, blocks, hidden, units):
        return None
    return Trace(
        architecture=architecture,
        model_type=str(family),
        stack=STACK,
        blocks=blocks,
        mlps=tuple(
            _record(block, hidden, units, activation, str(family)) for block in range(blocks)
        ),
        skipped={},
        refused=(),
        elsewhere=(),
        embedding=Embedding(EMBEDDING, None, transposed=False),
    )


def known_heads(config: Mapping[str, Any], tensors: Mapping[str, Shape]) -> tuple[str, ...]:
    """The head of a known family's files that is of other tokens than the configuration's, if it is."""
    shape = tensors.get(HEAD)
    wanted = (config.get("vocab_size"), config.get("hidden_size"))
    return () if shape is None or shape == wanted else (HEAD.partition(".")[0],)


def norm_offset(trace: Trace) -> float:
    """What a known family adds to the weights of its root-mean-square norms."""
    return 1.0 if trace.model_type in GEMMAS else 0.0


def _activation(config: Mapping[str, Any]) -> str:
    """What a configuration calls the activation; empty where it says nothing, or no word."""
    name = config.get("hidden_activation" if config["model_type"] in GEMMAS else "hidden_act")
    return name if isinstance(name, str) else ""


def _is_plain(config: Mapping[str, Any], architecture: str) -> bool:
    """Whether nothing in a configuration makes another model of the family's."""
    if config.get("architectures") not in (None, [architecture]):
        return False
    special = ("auto_map", "quantization_config", "mlp_bias", "pruned_heads")
    nested = (value for value in config.values() if isinstance(value, dict))
    return not any(config.get(key) for key in special) and not any(
        "model_type" in value for value in nested
    )


def _as_expected(tensors: Mapping[str, Shape], blocks: int, hidden: int, units: int) -> bool:
    """Whether the tensors are those of so many blocks, each with one MLP of these sizes."""
    wide, narrow = (units, hidden), (hidden, units)
    shapes = {"gate_proj": wide, "up_proj": wide, "down_proj": narrow}
    wanted = {
        f"{STACK}.{block}.mlp.{name}.weight": shapes[name]
        for block in range(blocks)
        for name in _MLP
    }
    embedding = tensors.get(EMBEDDING, ())
    if len(embedding) != 2 or embedding[1] != hidden:
        return False
    if any(tensors.get(name) != shape for name, shape in wanted.items()):
        return False
    return all(_is_known(name, blocks) for name in tensors.keys() - wanted.keys())


def _is_known(name: str, blocks: int) -> bool:
    if name in _OUTSIDE:
        return True
    block = _IN_BLOCK.fullmatch(name)
    if block is None or len(block[1]) > len(str(blocks)) or int(block[1]) >= blocks:
        return False
    return bool(_ATTENTION.fullmatch(block[2]) or _NORM.fullmatch(block[2]))


def _record(block: int, hidden: int, units: int, activation: str, family: str) -> MLPRecord:
    before = "pre_feedforward_layernorm" if family in GEMMAS else "post_attention_layernorm"
    norm = None if family in WITHOUT_NORM else f"{STACK}.{block}.{before}"
    path = f"{STACK}.{block}.mlp"
    gate, up, down = (
        Projection(f"{path}.{name}.weight", Channels(0, units, 1, axis), None, None, False)  # noqa: FBT003
        for name, axis in zip(_MLP, (0, 0, 1), strict=True)
    )
    return MLPRecord(
        block=block,
        path=path,
        kind="gated",
        role="dense",
        expert=None,
        gate=gate,
        up=up,
        down=down,
        units=units,
        hidden=hidden,
        input=HiddenInput(path, scaled=False, norm=norm),
        activation=activation,
        activation_module=f"{path}.act_fn",
        up_terms="",
        product_terms="",
    )
