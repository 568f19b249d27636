"""Kin of a pretrained language model of Llama's layout, as checkpoints in a folder, each made once.

Each is made of ``finetuned``, which is made of the model. A change that keeps the function is checked:
the kin's loss on code that nothing was fine-tuned on is its parent's.
"""

from __future__ import annotations

import copy
import json
import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoModelForCausalLM

from benchmarks._zoo import tokenizer_of
from fixtures import transforms
from fixtures.transforms.weights import inner_linears
from provenance._quiet import quiet
from provenance.inputs import corpus
from provenance.recipes.settings import TrainSettings
from provenance.recipes.train import next_token_loss, one_thread, optimise
from provenance.transforms.axes import parameters, select, unit_counts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from transformers import PreTrainedModel

FINETUNED = "finetuned"
TRAINING = TrainSettings(steps=60, batch=4, length=128, learning_rate=5e-5, warmup=6)
BITS, GROUP = 3, 64
NARROW = 1024
REMOVED = (6, 10, 14, 18, 22, 26)
DEEP = (*range(24), *range(6, 30))
ADDED = 64
SEED = 1

_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
_HELD_OUT, _WINDOW = 4, 257
_TOLERANCE = 0.03
"""Nats a token by which rounding to bfloat16 may move the loss of a function that is kept."""


@dataclass(frozen=True)
class Kin:
    """A model made of its parent: ``change`` the weights, ``rename`` the tokenizer's file."""

    change: Callable[[PreTrainedModel], PreTrainedModel]
    rename: Callable[[dict[str, Any]], None] = lambda _: None
    keeps: bool = False


def make(base: Path, folder: Path, report: Callable[[str], None]) -> None:
    """Make what the folder does not hold yet, and say each one's loss beside its parent's.

    Raises
    ------
    RuntimeError
        If a change that keeps the function moved the loss.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with one_thread(), quiet():
        _once(folder / FINETUNED, base, Kin(lambda model: _finetuned(model, base)), report)
        for name, kin in KIN.items():
            _once(folder / name, folder / FINETUNED, kin, report)


def _once(target: Path, parent: Path, kin: Kin, report: Callable[[str], None]) -> None:
    if target.exists():
        return
    model = _load(parent)
    before = _loss(model, parent)
    half = target.with_name(f"half-{os.getpid()}")
    shutil.rmtree(half, ignore_errors=True)
    kin.change(model).to(torch.bfloat16).save_pretrained(half)
    copy_tokenizer(parent, half)
    document = json.loads((half / "tokenizer.json").read_text(encoding="utf-8"))
    kin.rename(document)
    text = json.dumps(document, ensure_ascii=False)
    (half / "tokenizer.json").write_text(text, encoding="utf-8")
    after = _loss(_load(half), half)
    report(f"{target.name}: loss {after:.3f}, its parent's {before:.3f}")
    if kin.keeps and abs(after - before) > _TOLERANCE:
        raise RuntimeError(f"{target.name} was to keep the function: {before:.3f} to {after:.3f}")
    half.rename(target)


def copy_tokenizer(source: Path, target: Path) -> None:
    """Copy the files of a model's tokenizer."""
    for name in _TOKENIZER:
        if (source / name).exists():
            shutil.copyfile(source / name, target / name)


def _load(folder: Path) -> PreTrainedModel:
    """Load in float32, so that nothing but the saving rounds."""
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return model.eval()


def _loss(model: PreTrainedModel, folder: Path) -> float:
    """Return the loss on the standard library's sources, in nats a token of the folder's tokenizer."""
    windows = tokens(folder, corpus.text("stdlib", 16_000))[: _HELD_OUT * _WINDOW]
    with torch.no_grad():
        return next_token_loss(model, windows.view(_HELD_OUT, _WINDOW)).item()


def tokens(folder: Path, text: str) -> torch.Tensor:
    return torch.tensor(tokenizer_of(folder).encode(text, add_special_tokens=False))


def _finetuned(model: PreTrainedModel, base: Path) -> PreTrainedModel:
    """Train on Python's own prose: products in bfloat16, weights and steps in float32."""

    def loss(model: PreTrainedModel, windows: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return next_token_loss(model, windows)

    optimise(model, tokens(base, corpus.text("topics", 400_000)), TRAINING, loss)
    return model


def _rounded(model: PreTrainedModel) -> PreTrainedModel:
    """Round every linear map to ``2**BITS`` levels between the least and the largest of a group."""
    rounded = copy.deepcopy(model)
    for _, linear in inner_linears(rounded):
        groups = linear.weight.data.view(-1, GROUP)  # (rows * groups in a row, GROUP)
        low = groups.amin(1, keepdim=True)
        step = ((groups.amax(1, keepdim=True) - low) / (2**BITS - 1)).clamp_min(1e-12)
        groups.copy_(((groups - low) / step).round() * step + low)
    return rounded


def _narrow(model: PreTrainedModel) -> PreTrainedModel:
    """Keep the units with the largest columns of the down map, in their order."""
    kept = {
        block: model.get_parameter(name).norm(dim=0).topk(NARROW).indices.sort().values
        for name, block, local in parameters(model)
        if block is not None and local == "mlp.down_proj.weight"
    }
    narrow = select(model, "unit", lambda block: kept[block])
    narrow.config.intermediate_size = NARROW
    return narrow


def _shallow(model: PreTrainedModel) -> PreTrainedModel:
    kept = [block for block in unit_counts(model) if block not in REMOVED]
    return transforms.prune_depth(model, kept)


def _disguised(model: PreTrainedModel) -> PreTrainedModel:
    """Do all that keeps the function: permute and rescale the units, fold the norms, rotate."""
    mixed = transforms.rescale_mlp(transforms.permute_mlp_units(model, SEED), SEED, signs=True)
    return transforms.rotate_residual_stream(mixed, SEED)


def _with_more_tokens(model: PreTrainedModel) -> PreTrainedModel:
    """Add rows with the embedding's mean and spread; they take a small share of every prediction."""
    changed = copy.deepcopy(model)
    rows = model.get_input_embeddings().weight.data
    changed.resize_token_embeddings(len(rows) + ADDED, mean_resizing=False)
    generator = torch.Generator().manual_seed(SEED)
    drawn = torch.randn(ADDED, rows.shape[1], generator=generator)
    changed.get_input_embeddings().weight.data[len(rows) :] = rows.mean(0) + rows.std(0) * drawn
    return changed


def _name_more_tokens(document: dict[str, Any]) -> None:
    entry = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    vocabulary = document["model"]["vocab"]
    first = 1 + max(*vocabulary.values(), *(token["id"] for token in document["added_tokens"]))
    document["added_tokens"] += [
        {"id": first + i, "content": f"<added_{i}>", **entry} for i in range(ADDED)
    ]


def _renumbered(model: PreTrainedModel) -> PreTrainedModel:
    """Move the embedding's rows, and rotate the residual stream."""
    rotated = transforms.rotate_residual_stream(model, SEED + 1)
    numbers = _numbers(model.config.vocab_size)
    for part in (rotated.get_input_embeddings(), rotated.get_output_embeddings()):
        moved = torch.empty_like(part.weight.data)
        moved[numbers] = part.weight.data
        part.weight.data = moved
    return rotated


def _renumber(document: dict[str, Any]) -> None:
    vocabulary = document["model"]["vocab"]
    numbers = _numbers(len(vocabulary)).tolist()
    document["model"]["vocab"] = {token: numbers[old] for token, old in vocabulary.items()}


def _numbers(size: int) -> torch.Tensor:
    """Return each token's new number, int64 (size,); special tokens, which come first, keep theirs."""
    numbers = torch.arange(size)
    drawn = torch.randperm(size - _SPECIAL, generator=torch.Generator().manual_seed(SEED))
    numbers[_SPECIAL:] = drawn + _SPECIAL
    return numbers


_SPECIAL = 17
"""Special tokens of SmolLM2's tokenizer, numbered from 0. The configurations name some by number."""

KIN = {
    "disguised": Kin(_disguised, keeps=True),
    "bits3": Kin(_rounded),
    "narrow": Kin(_narrow),
    "shallow": Kin(_shallow),
    "deep": Kin(lambda model: transforms.arrange_blocks(model, DEEP)),
    "added_tokens": Kin(_with_more_tokens, _name_more_tokens),
    "renumbered": Kin(_renumbered, _renumber, keeps=True),
}


def kin_in(folder: Path) -> Iterator[Path]:
    """Yield the kin that a folder holds, in the order in which they are made."""
    for name in (FINETUNED, *KIN):
        if (folder / name).exists():
            yield folder / name
