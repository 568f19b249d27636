"""What of a model is compared: its parameters by block and name, their axes, and the norms before them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from provenance.architecture.records import projection_weight
from provenance.checkpoints.contents import BUFFERS, setting
from provenance.differences.units import MLPWeights
from provenance.loading.faults import refuse_nonfinite
from provenance.statistics.symmetries import axes_of

if TYPE_CHECKING:
    import torch

    from provenance.architecture.records import MLPRecord, Projection
    from provenance.capture.layout import Layout
    from provenance.checkpoints.checkpoint import Checkpoint
    from provenance.loading.parameters import ModelTensors

__all__ = ["EXPERTS", "Side"]

EXPERTS = 2
"""Experts of a block that are looked at."""
HEADS = ("num_attention_heads", "n_head", "n_heads", "num_heads")
GROUPS = ("num_key_value_heads", "multi_query_group_num")
HEAD = "lm_head.weight"
FINAL_NORMS = ("model.norm.weight",)
NORMED = frozenset({f"self_attn.{one}_proj.weight" for one in "qkv"})
ATTENTION_NORM = "input_layernorm.weight"


@dataclass(frozen=True)
class Side:
    """One of the two models."""

    checkpoint: Checkpoint
    layout: Layout
    tensors: ModelTensors

    @cached_property
    def names(self) -> dict[tuple[int | None, str], str]:
        """Every parameter outside of MLPs, by its block (None: outside) and its name there."""
        trace = self.layout.trace
        inside = f"{trace.stack}."
        found: dict[tuple[int | None, str], str] = {}
        apart = {*trace.parameters(), *([trace.embedding.parameter] if trace.embedding else [])}
        for name in self.layout.stored:
            if name in apart or BUFFERS.search(name):
                continue
            index, _, local = name.removeprefix(inside).partition(".")
            is_inside = name.startswith(inside) and index.isdecimal()
            found[(int(index), local) if is_inside else (None, name)] = name
        return found

    @property
    def heads(self) -> int | None:
        """Attention heads, as the configuration says."""
        return setting(self.checkpoint.config, HEADS)

    @property
    def groups(self) -> int | None:
        """Heads of keys and values."""
        return setting(self.checkpoint.config, GROUPS) or self.heads

    @property
    def embedding(self) -> str | None:
        """The table of tokens, where its rows are the residual stream's."""
        found = self.layout.trace.embedding
        return None if found is None or found.projection is not None else found.parameter

    def axes(self, block: int | None, local: str) -> tuple[str, ...] | None:
        """What the axes of a parameter carry; None where that is not known."""
        if block is None and local == HEAD:
            return ("tokens", "residual")
        return axes_of(local if block is None else f"model.layers.0.{local}")

    def mlps(self, block: int) -> dict[tuple[str, int | None], MLPRecord]:
        """The MLPs of a block that are looked at, by their role and their number among experts."""
        records = self.layout.trace.of_block(block)
        return {
            (one.role, one.expert): one
            for one in records
            if one.expert is None or one.expert < EXPERTS
        }

    @property
    def head(self) -> str | None:
        """The table that answers are read off: the embedding's, where a configuration ties the two."""
        if (None, HEAD) in self.names:
            return HEAD
        return self.embedding if self.checkpoint.config.get("tie_word_embeddings") else None

    def read(self, name: str) -> torch.Tensor:
        """A parameter, as stored.

        Raises
        ------
        SourceError
            If it cannot be read, or holds NaN or infinity.
        """
        tensor = self.tensors.read(name)
        refuse_nonfinite(self.checkpoint, name, tensor)
        return tensor

    def rows(self, name: str, indices: torch.Tensor) -> torch.Tensor:
        """Some rows of a table, as stored; raises as `read`."""
        found = self.tensors.rows(name, indices.tolist())
        refuse_nonfinite(self.checkpoint, name, found)
        return found

    def projection(self, projection: Projection) -> torch.Tensor:
        """Rows of a projection, one a unit, as stored."""
        return projection_weight(projection, self.read(projection.parameter))

    def weights(self, record: MLPRecord) -> MLPWeights:
        """An MLP's weights, float32, without gains."""
        gate = None if record.gate is None else self.projection(record.gate).float()
        up, down = self.projection(record.up).float(), self.projection(record.down).float()
        return MLPWeights(gate, up, down)

    def gain(
        self, block: int | None, local: str | None, record: MLPRecord | None
    ) -> torch.Tensor | None:
        """What a norm multiplies the stream by before a parameter reads it; None: nothing, or unknown."""
        if record is not None:
            path = record.input.norm
            norm = None if path is None else self.layout.norms.get(path)
            if norm is None or norm.kind != "rms" or norm.weight is None:
                return None
            return self.read(norm.weight).float() + norm.offset
        if block is None:
            names = [name for name in FINAL_NORMS if (None, name) in self.names and local == HEAD]
        elif local in NORMED:
            name = self.names.get((block, ATTENTION_NORM))
            names = [] if name is None else [name]
        else:
            names = []
        return self.read(names[0]).float() + self.offset if names else None

    @property
    def offset(self) -> float:
        """What norms add to their weights, as those before the MLPs do."""
        return next((norm.offset for norm in self.layout.norms.values()), 0.0)
