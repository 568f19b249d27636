"""Measure what token fingerprints find, how often they err, and how large they are, on real models.

``python -m benchmarks.token_fingerprints FOLDER BASE`` takes a folder of independently trained checkpoints,
of which BASE is one. It makes kin of BASE, and prints the tables of docs/fingerprint.md.
"""

from __future__ import annotations

import argparse
import math
import shutil
import statistics
import sys
import tempfile
from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from transformers import AutoModelForCausalLM

from benchmarks._table import table
from provenance._quiet import quiet
from provenance.comparison.disguised import save_disguised
from provenance.comparison.executor import Executor, as_spec
from provenance.comparison.make_token_fingerprint import fingerprint_tokens
from provenance.comparison.plan import Comparison
from provenance.evidence.decide import judged_p
from provenance.recipes.train import one_thread
from provenance.store.store import Store
from provenance.transforms import prune_depth, prune_width
from provenance.vocabulary import InputsSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from transformers import PreTrainedModel

SIZES = (1_250_000, 5_000_000)
LEVELS = (0.1, 0.05, 0.01, 0.001)
NOISE = (0.1, 0.3, 0.5, 0.7)
BITS, GROUP = 3, 64
SAMPLE = 3
"""Blocks of the candidate that meet every block of the reference, for the null."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("base")
    parser.add_argument("--store", type=Path)
    given = parser.parse_args(arguments)
    models = [
        place for place in sorted(given.folder.iterdir()) if (place / "config.json").is_file()
    ]
    with tempfile.TemporaryDirectory() as work, quiet(), one_thread():
        run = Executor(Store(given.store), "cpu")
        print(_power(run, given.folder / given.base, Path(work)), flush=True)
        print(_null(run, models, Path(work)), flush=True)


def _marks(run: Executor, models: Sequence[Path], size: int, work: Path) -> dict[str, Path]:
    marks = {}
    for model in models:
        marks[model.name] = work / f"{model.name}-{size}.safetensors"
        if not marks[model.name].exists():
            fingerprint_tokens(model, marks[model.name], size=size, executor=run)
    return marks


def _null(run: Executor, models: Sequence[Path], work: Path) -> str:
    rows = []
    marks = _marks(run, models, SIZES[-1], work)
    held = {"a model and a fingerprint": {m.name: m for m in models}, "two fingerprints": marks}
    for what, candidates in held.items():
        ps = []
        for ours, theirs in permutations(sorted(marks), 2):
            print(f"{what}: {ours} {theirs}", file=sys.stderr, flush=True)
            ps += _table(run, candidates[ours], marks[theirs])
        shares = [f"{sum(p <= math.log10(a) for p in ps) / len(ps):.4f}" for a in LEVELS]
        rows.append([what, f"{len(ps):,}", *shares, f"{10 ** min(ps):.1e}"])
    return table(["held", "tests", *(f"p ≤ {a:g}" for a in LEVELS), "least p"], rows)


def _table(run: Executor, candidate: Path, reference: Path) -> list[float]:
    """log10 p of some blocks of one against every block of the other."""
    comparison = Comparison(
        as_spec(candidate),
        as_spec(reference),
        InputsSpec(),
        "match_tokens",
        cross=True,
        sample=SAMPLE,
        extent="all",
        control=False,
    )
    evidence = run.evidence(comparison)
    return [p for row in evidence.cross for p in row if p is not None]


def _power(run: Executor, base: Path, work: Path) -> str:
    checkpoint = run.checkpoint(as_spec(base))
    kin: dict[str, Path] = {}
    for name, change in _changes().items():
        kin[name] = work / f"kin-{len(kin)}"
        _save(base, kin[name], change)
    kin["disguised: units in another order, up rescaled, residual stream permuted"] = work / "kin-d"
    save_disguised(checkpoint, work / "kin-d")
    marks = {size: _marks(run, [base], size, work)[base.name] for size in SIZES}
    rows = []
    for name, model in kin.items():
        cells = [_strength(run, model, base)]
        for size, mark in marks.items():
            own = work / f"own-{model.name}-{size}.safetensors"
            fingerprint_tokens(model, own, size=size, executor=run)
            cells += [_strength(run, model, mark), _strength(run, own, mark)]
        print(name, cells, file=sys.stderr, flush=True)
        rows.append([name, *cells])
    head = [f"{what}, {size / 1e6:g} MB" for size in SIZES for what in ("one side", "both sides")]
    return table(["change", "no fingerprint", *head], rows)


def _strength(run: Executor, candidate: Path, reference: Path) -> str:
    comparison = Comparison(
        as_spec(candidate),
        as_spec(reference),
        InputsSpec(),
        "match_tokens",
        extent="decided",
        sample=6,
        control=False,
    )
    blocks = run.evidence(comparison).blocks
    found = [block.log10_p for block in blocks if block.log10_p is not None]
    return f"{statistics.median(found):.1f} ({judged_p(blocks):.0f})"


def _changes() -> dict[str, Callable[[PreTrainedModel], PreTrainedModel]]:
    changes: dict[str, Callable[[PreTrainedModel], PreTrainedModel]] = {
        f"Gaussian noise, {share:g} std": lambda model, share=share: _noisy(model, share)  # type: ignore[misc]
        for share in NOISE
    }
    changes[f"rounding to {BITS} bits in groups of {GROUP}"] = _rounded
    changes["two thirds of the units"] = lambda model: prune_width(
        model, 2 * model.config.intermediate_size // 3
    )
    changes["every fifth block removed"] = lambda model: prune_depth(
        model, [i for i in range(model.config.num_hidden_layers) if i % 5 != 3]
    )
    return changes


def _save(base: Path, folder: Path, change: Callable[[PreTrainedModel], PreTrainedModel]) -> None:
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16)
    with torch.no_grad():
        change(model).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(base / name, folder)


def _noisy(model: PreTrainedModel, share: float) -> PreTrainedModel:
    draw = torch.Generator().manual_seed(0)
    for weight in model.parameters():
        if weight.dim() == 2:
            noise = torch.randn(weight.shape, generator=draw)
            weight.copy_(weight.float() + share * weight.float().std() * noise)
    return model


def _rounded(model: PreTrainedModel) -> PreTrainedModel:
    """Weights of MLPs to the nearest of evenly spaced values between the extremes of their group."""
    for name, weight in model.named_parameters():
        if weight.dim() == 2 and "mlp" in name:
            groups = weight.float().reshape(-1, GROUP)
            low, high = groups.amin(1, keepdim=True), groups.amax(1, keepdim=True)
            step = ((high - low) / (2**BITS - 1)).clamp_min(1e-12)
            weight.copy_((((groups - low) / step).round() * step + low).reshape(weight.shape))
    return model


if __name__ == "__main__":
    main()
