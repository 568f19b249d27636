"""Whether a checkpoint's model can be run: transformers knows its family, or its own code is trusted."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from provenance._quiet import quiet
from provenance.vocabulary import COMPONENT_TYPE

if TYPE_CHECKING:
    from provenance.checkpoints.checkpoint import Checkpoint

LISTS = ("auto_mappings.py", "configuration_auto.py")
"""Files of transformers that list its families, by version."""


def why_not_run(checkpoint: Checkpoint) -> str | None:
    """Say why the model of a checkpoint cannot be built; None where its family is known.

    Neither torch nor transformers is imported for a family that transformers' own files list.
    """
    kind = checkpoint.model_type
    if checkpoint.remote_code or checkpoint.bundle is not None or _is_listed(kind):
        return None
    if kind.startswith(COMPONENT_TYPE):
        return f"{checkpoint.source} is a component, which is compared by its weights and never run"
    with quiet():
        import transformers
        from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    if kind in CONFIG_MAPPING:
        return None
    if "auto_map" in checkpoint.config:
        return (
            f"{checkpoint.source}: {kind!r} needs code of its own; if you trust its maker, set "
            "trust_remote_code: true on this model"
        )
    return (
        f"{checkpoint.source}: this transformers ({transformers.__version__}) does not know "
        f"model_type {kind!r}; upgrade it"
    )


def _is_listed(kind: str) -> bool:
    """Whether transformers' own files list a family: importing them takes seconds, and torch."""
    spec = find_spec("transformers")
    if spec is None or spec.origin is None:
        return False
    folder = Path(spec.origin).parent / "models" / "auto"
    row = re.compile(rf'\("{re.escape(kind)}", "\w+Config"\)')
    files = (folder / name for name in LISTS)
    return any(row.search(file.read_text("utf-8")) for file in files if file.is_file())
