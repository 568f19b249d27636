"""What the projections of MLPs are called: names that are known to mean gate, up and down.

Each row is a convention of published models. A name that means gate in one model and up in another is in no
row: there the shapes leave a choice, which a person must answer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from provenance.architecture.by_names.numbered import Path

First = Literal["gate", "up"]


@dataclass(frozen=True)
class Naming:
    """Names of the projections of one MLP, below what holds them all.

    ``first`` says which half of a projection that is both comes first; then ``gate`` is ``up``. Where it is
    None and ``gate`` is too, the MLP is plain.
    """

    up: Path
    down: Path
    gate: Path | None = None
    first: First | None = None


def _separate(gate: str, up: str, down: str) -> Naming:
    return Naming(_path(up), _path(down), gate=_path(gate))


def _fused(both: str, down: str, first: First = "gate") -> Naming:
    return Naming(_path(both), _path(down), gate=_path(both), first=first)


def _plain(up: str, down: str) -> Naming:
    return Naming(_path(up), _path(down))


def _path(text: str) -> Path:
    return tuple(text.split("."))


SEPARATE = (
    _separate("gate_proj", "up_proj", "down_proj"),  # Llama
    _separate("w1", "w3", "w2"),  # Mixtral, InternLM 2
    _separate("w1", "v1", "w2"),  # DBRX
    _separate("w2", "w1", "c_proj"),  # Qwen
    _separate("wi_0", "wi_1", "wo"),  # T5 1.1
    _separate("w_in.w_0", "w_in.w_1", "w_out"),  # CPM-Ant
    _separate("w_gate", "w_up", "w_down"),
    _separate("gate", "up", "down"),
    _separate("c_fc_0", "c_fc_1", "c_proj"),  # EXAONE 3
    _separate("fc_1", "fc_2", "proj"),  # LitGPT
    _separate("linear", "linear_v", "linear_1"),  # Grok 1
    _separate("proj_up_gate", "proj_up", "proj_down"),  # xLSTM
)
FUSED = (
    _fused("gate_up_proj", "down_proj"),  # Phi 3, GLM
    _fused("dense_h_to_4h", "dense_4h_to_h"),  # ChatGLM
    _fused("linear_fc1", "linear_fc2"),  # Megatron
    _fused("input_linear", "output_linear"),  # Granite
    _fused("Wi", "Wo"),  # ModernBERT
    _fused("gated_layers", "wo"),  # MosaicBERT
    _fused("proj_1", "proj_2"),  # OpenELM
    _fused("w12", "w3"),  # xFormers
    _fused("ff_proj", "ff_out", first="up"),  # OLMo 1
)
PLAIN = (
    _plain("c_fc", "c_proj"),  # GPT-2
    _plain("dense_h_to_4h", "dense_4h_to_h"),  # GPT-NeoX
    _plain("fc1", "fc2"),  # OPT
    _plain("fc_in", "fc_out"),  # GPT-J
    _plain("up_proj", "down_proj"),  # Nemotron
    _plain("linear_fc1", "linear_fc2"),  # Megatron
    _plain("intermediate.dense", "output.dense"),  # BERT
    _plain("lin1", "lin2"),  # DistilBERT, XLM
    _plain("wi", "wo"),  # T5
    _plain("ff_proj", "ff_out"),  # OLMo 1
)
"""A projection of a fused row that is no wider than down is plain, if it has a row here."""

ATTENTION = re.compile(r"attn|attention|(^|_)att(_|$)", re.IGNORECASE)
"""No MLP is in what is called so."""
GATE = re.compile(r"gate", re.IGNORECASE)
EXPERT = re.compile(r"expert", re.IGNORECASE)
SHARED = re.compile(r"shared", re.IGNORECASE)
NORM = re.compile(r"norm|(^|_)ln(_|\d|$)", re.IGNORECASE)
OTHER_TOWERS = re.compile(
    r"vision|visual|vit|image|audio|speech|mtp|nextn|draft|diffusion", re.IGNORECASE
)
"""Lists of blocks that are no language model's own."""

EMBEDDINGS = (
    "embed_tokens",
    "wte",
    "word_embeddings",
    "tok_embeddings",
    "token_embeddings",
    "token_embedding",
    "embed_in",
    "tok_embed",
    "word_embedding",
    "input_embeddings",
    "input_embedding",
    "embeddings",
    "embedding",
    "embed",
)
"""What the table of tokens is called, the plainest first."""
HEADS = ("lm_head", "embed_out", "output")
"""What the head is called, which stands for the table where the two are tied and stored once."""

ROUTERS = (
    ("router",),
    ("gate",),
    ("router", "layer"),
    ("router", "classifier"),
    ("router", "linear"),
    ("router", "proj"),
    ("gate", "wg"),
    ("gate", "proj"),
    ("wg",),
    ("switch",),
)

_MLP = r"(mlp|ffn|ffw|ff|moe|feed_?forward)"
BEFORE = (
    re.compile(rf"(^|_)(pre|before).*{_MLP}", re.IGNORECASE),
    re.compile(rf"^(?!post).*({_MLP}_?(layer_?)?norm|(ln|norm)_?{_MLP})", re.IGNORECASE),
)
"""Norms whose names say that they stand before the MLP, the plainest first."""
AFTER_MLP = re.compile(rf"post.*{_MLP}", re.IGNORECASE)
AFTER_ATTENTION = re.compile(r"post_?(attention|attn)", re.IGNORECASE)
OF_ATTENTION = re.compile(r"post_?self_?(attention|attn)", re.IGNORECASE)
"""Beside such a norm, one that is called after attention stands before the MLP."""
SECOND = re.compile(r"^(ln|norm|layer_?norm)_?2$", re.IGNORECASE)
