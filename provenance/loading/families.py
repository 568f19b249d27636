"""Whether a checkpoint's model can be run: transformers knows its family, or its own code is trusted."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from provenance._quiet import quiet

if TYPE_CHECKING:
    from provenance.checkpoints.checkpoint import Checkpoint

_PLAIN = re.compile(r"[a-z0-9_]+")


def why_not_run(checkpoint: Checkpoint) -> str | None:
    """Say why the model of a checkpoint cannot be built; None where its family is known.

    Neither torch nor transformers is imported for most families that are.
    """
    kind = checkpoint.model_type
    if checkpoint.remote_code or checkpoint.bundle is not None or _has_folder(kind):
        return None
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


def _has_folder(kind: str) -> bool:
    """Whether transformers has a configuration in a folder of that name, without importing it."""
    spec = find_spec("transformers")
    if spec is None or spec.origin is None or not _PLAIN.fullmatch(kind):
        return False
    return (Path(spec.origin).parent / "models" / kind / f"configuration_{kind}.py").is_file()
