"""GGUF through transformers' reader, dequantized."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provenance.conversions import need, translated
from provenance.loading.model import refuse_gaps

if TYPE_CHECKING:
    from provenance.checkpoints.formats import Contents
    from provenance.vocabulary import Dtype

NAME = "model.gguf"


def convert_gguf(contents: Contents, folder: Path, source: str, dtype: Dtype | None) -> None:
    """Save a GGUF file as a plain checkpoint, with its tokenizer where transformers can read it.

    Raises
    ------
    SourceError
        gguf is absent, the file is torn, its architecture is not one that transformers reads, or it
        lacks tensors.
    """
    need("gguf", "gguf", f"{source} is GGUF, and reading it")
    import torch
    from transformers import AutoModelForCausalLM, GgufConfig

    (file,) = contents.files
    with tempfile.TemporaryDirectory() as alone, translated(source, "reading it as GGUF"):
        # alone, or transformers would take an adapter or a configuration beside it into account
        (Path(alone) / NAME).symlink_to(file.resolve())
        model, info = AutoModelForCausalLM.from_pretrained(
            alone,
            gguf_file=NAME,
            dtype=getattr(torch, dtype or "float32"),
            quantization_config=GgufConfig(dequantize=True),
            trust_remote_code=False,
            local_files_only=True,
            output_loading_info=True,
        )
        refuse_gaps(source, info)
        model.save_pretrained(folder)
        _save_tokenizer(alone, folder)


def _save_tokenizer(alone: str, folder: Path) -> None:
    from transformers import AutoTokenizer

    # not every tokenizer of GGUF can be read; without one the inputs are random ids, and say so
    with suppress(Exception):
        tokenizer: Any = AutoTokenizer.from_pretrained(
            alone, gguf_file=NAME, trust_remote_code=False, local_files_only=True
        )
        tokenizer.save_pretrained(folder)
