"""Compare one block of a mixture of 128 experts whole: verdict, p-value, seconds, memory.

``python -m benchmarks.mixture`` makes a block of random weights in the shape of Qwen 3 30B A3B: 128 experts
of 768 units at hidden size 2048. The copy has its experts, and the units of each, in another order. Each
comparison is a process of its own, with an empty store, on one thread.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

from benchmarks._arguments import at_least
from benchmarks._process import peak_bytes, processor_seconds
from benchmarks._table import table
from provenance import Executor, InputsSpec, Store, compare, decide
from provenance.statistics.pvalues import format_p
from provenance.transforms.traced import permute_experts, permute_traced_units
from provenance.vocabulary import DEFAULT_ALPHA

if TYPE_CHECKING:
    from collections.abc import Sequence

    from provenance.vocabulary import StatisticName

STATISTICS: tuple[StatisticName, ...] = ("match_tokens", "match_weights", "match", "kinship")
REFERENCE = "reference"
CHOSEN = 8
"""Experts that a token is sent to."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the models, compare a copy and a stranger, print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mixture", description=__doc__)
    parser.add_argument("--experts", type=at_least(1), default=128)
    parser.add_argument("--units", type=at_least(1), default=768)
    parser.add_argument("--hidden", type=at_least(1), default=2048)
    parser.add_argument("--statistics", nargs="+", choices=STATISTICS, default=STATISTICS)
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.measure:
        print(json.dumps(_measured(*given.measure)))
        return
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        _make(folder, given.experts, given.units, given.hidden)
        for name in ("copy", "stranger"):
            for statistic in given.statistics:
                found = _in_a_process(folder / name, folder / REFERENCE, statistic)
                rows.append([name, statistic, *found])
    columns = ["candidate", "statistic", "verdict", "p", "seconds", "of processors", "peak, GiB"]
    print(table(columns, rows))


def _make(folder: Path, experts: int, units: int, hidden: int) -> None:
    config = Qwen3MoeConfig(
        vocab_size=8192,
        hidden_size=hidden,
        intermediate_size=units,
        moe_intermediate_size=units,
        num_hidden_layers=1,
        num_attention_heads=hidden // 64,
        num_key_value_heads=hidden // 64,
        head_dim=64,
        num_experts=experts,
        num_experts_per_tok=min(CHOSEN, experts),
        dtype="bfloat16",
    )
    for seed, name in enumerate((REFERENCE, "stranger")):
        torch.manual_seed(seed)
        model = Qwen3MoeForCausalLM(config).to(torch.bfloat16)
        model.save_pretrained(folder / name)
        if name == REFERENCE:
            copy = permute_experts(permute_traced_units(model, seed=2), seed=3)
            copy.save_pretrained(folder / "copy")
            del copy
        del model


def _in_a_process(candidate: Path, reference: Path, statistic: str) -> list[str]:
    command = [sys.executable, "-m", "benchmarks.mixture", "--measure"]
    command += [str(candidate), str(reference), statistic]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603
    found: list[str] = json.loads(out)
    return found


def _measured(candidate: str, reference: str, statistic: StatisticName) -> list[str]:
    """Compare two models in this process; return cells of the table."""
    torch.set_num_threads(1)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as store:
        evidence = compare(
            candidate,
            reference,
            inputs=InputsSpec(kind="random"),
            statistic=statistic,
            executor=Executor(Store(store), "cpu"),
        )
    assert evidence.log10_p is not None
    return [
        decide(evidence, DEFAULT_ALPHA),
        format_p(evidence.log10_p),
        f"{time.monotonic() - begun:.0f}",
        f"{processor_seconds():.0f}",
        f"{peak_bytes() / 2**30:.1f}",
    ]


if __name__ == "__main__":
    main()
