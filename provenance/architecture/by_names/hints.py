"""What a configuration says of what names and shapes leave open; of what they show it decides nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

HIDDEN = ("hidden_size", "d_model", "n_embd", "dim", "embed_dim", "model_dim")
EXPERTS = (
    "num_experts",
    "num_local_experts",
    "n_routed_experts",
    "moe_num_experts",
    "num_routed_experts",
)
ACTIVATION = (
    "hidden_act",
    "hidden_activation",
    "activation_function",
    "mlp_hidden_act",
    "activation",
    "act_fn",
    "dense_act_fn",
)
RMS_EPSILON = ("rms_norm_eps", "rms_norm_epsilon", "rms_eps")
LAYER_EPSILON = ("layer_norm_eps", "layer_norm_epsilon", "layernorm_eps", "layernorm_epsilon")
GEMMA = "gemma"
"""Begins the types whose root-mean-square norms multiply by their weight plus 1."""
GPT_OSS = frozenset({"gpt_oss", "mxfp4"})
"""A type, and the quantization that it is published in: in its stacks of experts gate and up alternate."""


@dataclass(frozen=True)
class Hints:
    """The numbers and words of a configuration that may decide between two readings.

    ``layer_norm`` is None where it does not say which kind of norm there is. ``alternating`` says that gate
    and up are channels in turn where one stack of experts has both.
    """

    model_type: str
    hidden: tuple[int, ...]
    experts: tuple[int, ...]
    activation: str
    tied: bool
    layer_norm: bool | None
    plus_one: bool
    alternating: bool

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Hints:
        """Read a configuration as ``config.json`` has it, and the parts right inside of it."""
        has = set(_keys(config))
        kinds = [text for text in _values(config, ("model_type",)) if isinstance(text, str)]
        methods = _values(config, ("quant_method",))
        words = [word for word in _values(config, ACTIVATION) if isinstance(word, str) and word]
        layer_norm = None
        if has & {*RMS_EPSILON, *LAYER_EPSILON}:
            layer_norm = not has & set(RMS_EPSILON)
        return cls(
            model_type=kinds[0] if kinds else "",
            hidden=_sizes(config, HIDDEN),
            experts=_sizes(config, EXPERTS),
            activation=words[0] if words else "",
            tied=any(value is True for value in _values(config, ("tie_word_embeddings",))),
            layer_norm=layer_norm,
            plus_one=any(kind.startswith(GEMMA) for kind in kinds),
            alternating=any(
                word in GPT_OSS for word in (*kinds, *methods) if isinstance(word, str)
            ),
        )


def _parts(config: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [config, *(value for value in config.values() if isinstance(value, dict))]


def _keys(config: Mapping[str, Any]) -> Iterator[str]:
    for part in _parts(config):
        yield from part


def _values(config: Mapping[str, Any], keys: tuple[str, ...]) -> Iterator[Any]:
    for part in _parts(config):
        for key in keys:
            if key in part:
                yield part[key]


def _sizes(config: Mapping[str, Any], keys: tuple[str, ...]) -> tuple[int, ...]:
    return tuple(value for value in _values(config, keys) if type(value) is int and value > 0)
