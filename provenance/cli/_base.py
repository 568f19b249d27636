"""The option --base: the model that an adapter belongs on, where its own folder names none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from provenance.cli._completion import complete_model

if TYPE_CHECKING:
    from collections.abc import Sequence

    from provenance.vocabulary import ModelSpec

BASE = click.option(
    "--base",
    metavar="MODEL",
    shell_complete=complete_model,
    help="The model that an adapter belongs on [default: what the adapter names].",
)


def on_base(models: Sequence[str], base: str | None) -> list[ModelSpec]:
    """The models' specs, with a base for the adapters; the first is taken for one where no folder is."""
    from provenance.checkpoints.folder import ADAPTER_CONFIG
    from provenance.comparison.executor import as_spec

    specs = [as_spec(model) for model in models]
    if base is None:
        return specs
    adapters = [
        spec.path is not None and (Path(spec.path) / ADAPTER_CONFIG).is_file() for spec in specs
    ]
    chosen = adapters if any(adapters) else [number == 0 for number in range(len(specs))]
    onto = as_spec(base)
    return [
        replace(spec, base=onto) if is_adapter else spec
        for spec, is_adapter in zip(specs, chosen, strict=True)
    ]
