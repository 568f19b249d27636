"""The steps of recipes: each says as frozen data, without torch, what it does to a model, and does it.

A step of your own is a frozen dataclass that inherits from `Step`.
"""

from __future__ import annotations

import pkgutil
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar

from provenance._quiet import quiet
from provenance.recipes.settings import CorpusSettings, TokenizerSettings, TrainSettings
from provenance.recipes.sizes import Sizes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from provenance.store.store import Store

__all__ = [
    "Context",
    "FirstStep",
    "Initialise",
    "PermuteResidual",
    "PermuteUnits",
    "PruneDepth",
    "PruneWidth",
    "RescaleUnits",
    "Step",
    "TokenizerStep",
    "Train",
    "Transform",
    "load",
]


_EXPERT_KEYS = ("num_local_experts", "num_experts", "n_routed_experts")
"""Where configurations say how many MLPs a block has."""


def load(folder: Path) -> PreTrainedModel:
    """Load a checkpoint's causal language model in float32 on the CPU."""
    import torch
    from transformers import AutoModelForCausalLM

    with quiet():
        return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


@dataclass(frozen=True)
class Context:
    """What a step can use besides the model.

    Parameters
    ----------
    tokenizer
        The tokenizer of the recipe's model.
    folders
        Checkpoint folders of the recipes that the steps need, by the recipes' names.
    report
        Takes the steps of a training that are done, and the steps in all.
    """

    tokenizer: PreTrainedTokenizerFast
    folders: Mapping[str, Path]
    report: Callable[[int, int], None] | None = None

    def tokens(self, corpus: CorpusSettings) -> torch.Tensor:
        """Return the token ids of a text, int64 (tokens,).

        Raises
        ------
        InputError
            If the text is not there.
        """
        from provenance.recipes.tokenizer import encode

        return encode(self.tokenizer, corpus.read())

    def model(self, name: str) -> PreTrainedModel:
        """Load the model of a recipe that the step needs."""
        return load(self.folders[name])


class Step(ABC):
    """One thing that is done to a model; a recipe is a row of steps.

    A step is a frozen dataclass. Its class and fields key the model in the store: give it other fields
    where `apply` comes to give other weights.
    """

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the recipes, besides the parent, whose models the step needs."""
        return ()

    @property
    def texts(self) -> tuple[CorpusSettings, ...]:
        """The texts that the step reads: its fields that are `CorpusSettings`."""
        return tuple(v for v in self.values().values() if isinstance(v, CorpusSettings))

    def values(self) -> dict[str, Any]:
        """Return the step's fields by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]

    def sizes(self, before: Sizes) -> Sizes:
        """Return the sizes of the model after the step, from those before it; most steps change none."""
        return before

    @abstractmethod
    def apply(self, model: PreTrainedModel, context: Context) -> PreTrainedModel:
        """Return the model after the step, which may change the model that it is given."""

    def change(
        self, model: PreTrainedModel, context: Context
    ) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
        """Return the model and the tokenizer after the step; most steps leave the tokenizer alone."""
        return self.apply(model, context), context.tokenizer


class FirstStep(Step):
    """The first step of a recipe without a parent: it makes the model and its tokenizer."""

    @abstractmethod
    def begin(self, store: Store) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
        """Return the causal language model, on the CPU, and its tokenizer.

        ``store`` will keep the checkpoint. It may hold what the step begins with.

        Raises
        ------
        InputError
            If a text that the step needs is not there.
        SourceError
            If weights that the step needs are not there.
        """

    def first_sizes(self, store: Store) -> Sizes | None:  # noqa: ARG002
        """Return the sizes of the model that `begin` makes; None where they are not known before."""
        return None

    def lacks(self, store: Store) -> str | None:  # noqa: ARG002
        """Say in one line what `begin` needs and the store does not hold; None where nothing is."""
        return None

    def apply(self, model: PreTrainedModel, context: Context) -> PreTrainedModel:  # noqa: ARG002
        """Return the model, which `begin` has made."""
        return model


class TokenizerStep(Step):
    """A step that changes the tokenizer too. Later steps of its recipe read texts by the new one."""

    @abstractmethod
    def change(
        self, model: PreTrainedModel, context: Context
    ) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
        """Return the model and a new tokenizer."""

    def apply(self, model: PreTrainedModel, context: Context) -> PreTrainedModel:
        """Return the model alone."""
        return self.change(model, context)[0]


@dataclass(frozen=True)
class Initialise(FirstStep):
    """Begin with a random model; ``seed`` draws its weights.

    ``family`` is its ``model_type`` in transformers. ``configuration`` holds further keys of its
    configuration and their values, which take precedence over the sizes here. ``deviation`` is the
    standard deviation of every matrix's entries. The default is about ``hidden ** -0.5``, which keeps
    the size of activations; Llama's own 0.02 is meant for widths of thousands.
    """

    seed: int
    hidden: int = 128
    units: int = 384
    blocks: int = 4
    heads: int = 4
    positions: int = 1024
    deviation: float = 0.088
    tokenizer: TokenizerSettings = TokenizerSettings()  # noqa: RUF009 - frozen
    family: str = "llama"
    configuration: tuple[tuple[str, int | float | bool | str | tuple[str, ...]], ...] = ()

    @property
    def texts(self) -> tuple[CorpusSettings, ...]:
        """The text that the tokenizer is trained on."""
        return (self.tokenizer.corpus,)

    def first_sizes(self, store: Store) -> Sizes:  # noqa: ARG002
        """Return the sizes that the configuration will have."""
        more = dict(self.configuration)
        experts = next((more[key] for key in _EXPERT_KEYS if key in more), 1)
        units = more.get("moe_intermediate_size", more.get("intermediate_size", self.units))
        assert isinstance(units, int)
        assert isinstance(experts, int)
        return Sizes(self.hidden, units, self.blocks, self.tokenizer.vocabulary, experts)

    def begin(self, store: Store) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:  # noqa: ARG002
        """Return the model, float32, and a tokenizer that is trained for it."""
        from provenance.recipes.tokenizer import train_tokenizer

        tokenizer = train_tokenizer(self.tokenizer)
        return self.draw(end_of_text=tokenizer.eos_token_id), tokenizer

    def draw(self, end_of_text: int) -> PreTrainedModel:
        """Return the causal language model, float32 on the CPU; ``end_of_text`` is a token id."""
        import torch
        from transformers import AutoConfig, AutoModelForCausalLM

        sizes = {
            "vocab_size": self.tokenizer.vocabulary,
            "hidden_size": self.hidden,
            "intermediate_size": self.units,
            "num_hidden_layers": self.blocks,
            "num_attention_heads": self.heads,
            "max_position_embeddings": self.positions,
            "initializer_range": self.deviation,
            "tie_word_embeddings": True,
            "bos_token_id": end_of_text,
            "eos_token_id": end_of_text,
            "pad_token_id": end_of_text,
        }
        # transformers takes a list of kinds of layers, and no tuple
        more = {k: list(v) if isinstance(v, tuple) else v for k, v in self.configuration}
        config = AutoConfig.for_model(self.family, **sizes | more)
        with torch.random.fork_rng(devices=[]), quiet():
            torch.default_generator.manual_seed(self.seed)
            model: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        return model


@dataclass(frozen=True)
class Train(Step):
    """Train on a text; see `provenance.recipes.train.optimise`."""

    corpus: CorpusSettings
    settings: TrainSettings

    def apply(self, model: PreTrainedModel, context: Context) -> PreTrainedModel:
        """Return the model, trained in place."""
        from provenance.recipes.train import train

        train(model, context.tokens(self.corpus), self.settings, context.report)
        return model


class Transform(Step):
    """A step that calls a function with the model and, by name, the step's fields.

    A subclass names the function as `pkgutil.resolve_name` reads it: ``"package.module:function"``.
    """

    function: ClassVar[str]

    def apply(self, model: PreTrainedModel, context: Context) -> PreTrainedModel:  # noqa: ARG002
        """Return the model that the function returns."""
        changed: PreTrainedModel = pkgutil.resolve_name(self.function)(model, **self.values())
        return changed


@dataclass(frozen=True)
class PermuteUnits(Transform):
    """Call `provenance.transforms.permute_mlp_units`."""

    function = "provenance.transforms:permute_mlp_units"
    seed: int


@dataclass(frozen=True)
class RescaleUnits(Transform):
    """Call `provenance.transforms.rescale_mlp`."""

    function = "provenance.transforms:rescale_mlp"
    seed: int
    low: float = 0.5
    high: float = 2.0
    signs: bool = True


@dataclass(frozen=True)
class PermuteResidual(Transform):
    """Call `provenance.transforms.permute_residual_stream`."""

    function = "provenance.transforms:permute_residual_stream"
    seed: int


@dataclass(frozen=True)
class PruneWidth(Transform):
    """Call `provenance.transforms.prune_width`."""

    function = "provenance.transforms:prune_width"
    keep: int

    def sizes(self, before: Sizes) -> Sizes:
        """Return the sizes with so many units."""
        return replace(before, units=self.keep, counted=None)


@dataclass(frozen=True)
class PruneDepth(Transform):
    """Call `provenance.transforms.prune_depth`."""

    function = "provenance.transforms:prune_depth"
    keep_blocks: tuple[int, ...]

    def sizes(self, before: Sizes) -> Sizes:
        """Return the sizes with so many blocks."""
        return replace(before, blocks=len(self.keep_blocks), counted=None)
