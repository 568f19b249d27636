"""Measure false positives and power of `generalized` on tiny GPT-2s and Llamas, trained on the spot.

``python -m benchmarks.generalized --hidden 64 --models 6``
"""

from __future__ import annotations

import argparse
import copy
import math
import time
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig

from benchmarks._arguments import at_least
from benchmarks._table import table
from fixtures import transforms
from provenance._quiet import quiet
from provenance.architecture.functions import block_callables
from provenance.inputs import corpus
from provenance.recipes.train import one_thread
from provenance.statistics.generalized import GeneralizedResult, distil, generalized
from provenance.vocabulary import DistillSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from transformers import PreTrainedModel

    from provenance.statistics.generalized import Proxy

    Proxies = Mapping[int, Proxy]

SETTINGS = DistillSettings()
VOCABULARY, BATCH, LENGTH, STEPS = 256, 8, 64, 250
RATE = 3e-3
SIDES = (0, 1)
"""Seeds of the candidate's and of the reference's proxies."""


@dataclass(frozen=True)
class Trainer:
    """Trains on bytes of the standard library: bases on the first half, fine-tunes on the second."""

    data: torch.Tensor

    @classmethod
    def new(cls) -> Trainer:
        """Read the text."""
        text = corpus.for_tokens("stdlib", 60_000, 0).encode("utf-8", "replace")
        return cls(torch.tensor(list(text)))

    def train(self, model: PreTrainedModel, steps: int, seed: int, rate: float, half: int) -> None:
        """Train a model in place."""
        middle = len(self.data) // 2
        data = self.data[middle:] if half else self.data[:middle]
        generator = torch.Generator().manual_seed(seed)
        optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
        model.train()
        for step in range(steps):
            decay = 0.1 + 0.45 * (1 + math.cos(math.pi * step / steps))
            for group in optimizer.param_groups:
                group["lr"] = rate * min(1, (step + 1) / 20) * decay
            starts = torch.randint(len(data) - LENGTH - 1, (BATCH,), generator=generator)
            ids = torch.stack([data[start : start + LENGTH] for start in starts])
            optimizer.zero_grad()
            model(input_ids=ids, labels=ids).loss.backward()
            optimizer.step()
        model.eval()


def new_model(kind: str, hidden: int, seed: int) -> PreTrainedModel:
    """Return an untrained GPT-2 or Llama of two blocks."""
    ids = {"vocab_size": VOCABULARY, "bos_token_id": 0, "eos_token_id": 0}
    if kind == "GPT-2":
        drop = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
        shape = {"n_embd": hidden, "n_layer": 2, "n_head": 4, "n_positions": 128}
        config = GPT2Config(**ids, **shape, **drop)
    else:
        config = LlamaConfig(
            **ids,
            pad_token_id=0,
            hidden_size=hidden,
            intermediate_size=int(2.75 * hidden),
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=128,
        )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config)
    return model


def proxies_of(mlps: Mapping[int, Any], hidden: int, side: int) -> Proxies:
    """Imitate every block."""
    return {i: distil(mlp, hidden, SETTINGS, side) for i, mlp in mlps.items()}


def learnt_anew(model: PreTrainedModel, hidden: int) -> dict[int, Callable[..., torch.Tensor]]:
    """Gated MLPs of another width that were trained to compute what the model's compute."""
    narrow = DistillSettings(width_factor=3.0)

    def call(made: Proxy) -> Callable[..., torch.Tensor]:
        return lambda x: (functional.silu(x @ made.gate.T) * (x @ made.up.T)) @ made.down.T

    mlps = block_callables(model).items()
    return {i: call(distil(mlp, hidden, narrow, 1000 + i)) for i, mlp in mlps}


def descendants(trainer: Trainer, base: PreTrainedModel, kind: str) -> dict[str, PreTrainedModel]:
    """Models whose weights come from a base's."""
    permute = transforms.permute_traced_units if kind == "GPT-2" else transforms.permute_mlp_units
    made = {"units permuted": permute(base, seed=3)}
    for steps, seed, rate in ((50, 77, 1e-3), (300, 78, 1e-3), (300, 78, 3e-3)):
        tuned = copy.deepcopy(base)
        trainer.train(tuned, steps, seed, rate, half=1)
        made[f"fine-tuned {steps} steps at {rate:g}"] = tuned
    return made


def false_positives(results: Sequence[tuple[str, GeneralizedResult]]) -> str:
    """Count small p-values of independent pairs, by the kinds of the two models."""
    rows = []
    for kinds in dict.fromkeys(["all", *(kinds for kinds, _ in results)]):
        found = [result for name, result in results if kinds in {"all", name}]
        log10_ps = np.array([(r.matching.log10_p, r.agreement_log10_p(), r.log10_p) for r in found])
        counts = [
            str(int((log10_ps[:, column] < math.log10(level)).sum()))
            for level in (0.05, 0.01, 0.001)
            for column in range(3)
        ]
        mean = np.mean([r.agreeing() for r in found])
        least = 10 ** log10_ps[:, 2].min()
        rows.append([kinds, str(len(found)), *counts, f"{least:.2g}", f"{mean:.2f}"])
    columns = [
        f"{name} < {level:g}"
        for level in (0.05, 0.01, 0.001)
        for name in ("correlation", "agreements", "both")
    ]
    return table(["pairs", "number", *columns, "least", "mean agreements"], rows)


def power(kind: str, made: Mapping[str, Proxies], base: Proxies) -> str:
    """log10 p of each descendant's blocks, and the least fit of the two sides."""
    rows = []
    for name, proxies in made.items():
        results = [generalized(proxies[i], base[i]) for i in base]
        rows.append(
            [
                f"{kind}, {name}",
                ", ".join(f"{r.matching.log10_p:.1f}" for r in results),
                ", ".join(f"{r.agreement_log10_p():.0f}" for r in results),
                f"{min(fit.nonlinear for r in results for fit in r.fits):.3f}",
            ]
        )
    return table(["candidate", "correlation", "agreements", "least fit"], rows)


def measure(hidden: int, count: int, steps: int) -> str:
    """Train, imitate, compare; the tables as Markdown."""
    trainer, models = Trainer.new(), {}
    for kind, first in (("GPT-2", 0), ("Llama", 100)):
        for seed in range(first, first + count):
            models[kind, seed] = new_model(kind, hidden, seed)
            trainer.train(models[kind, seed], steps, seed, RATE, half=0)
    begun = time.monotonic()
    sides = [
        {name: proxies_of(block_callables(m), hidden, side) for name, m in models.items()}
        for side in SIDES
    ]
    seconds = (time.monotonic() - begun) / (len(SIDES) * 2 * len(models))
    null = [
        (f"{a[0]} against {b[0]}", generalized(ours, theirs))
        for a, b in product(models, models)
        if a != b
        for ours, theirs in product(sides[0][a].values(), sides[1][b].values())
    ]
    report = [f"hidden {hidden}, {seconds:.1f} s a distillation", false_positives(null)]
    for kind, first in (("GPT-2", 0), ("Llama", 100)):
        base = models[kind, first]
        made = {
            name: proxies_of(block_callables(model), hidden, 0)
            for name, model in descendants(trainer, base, kind).items()
        }
        made["MLPs learnt anew by gated ones"] = proxies_of(learnt_anew(base, hidden), hidden, 0)
        report.append(power(kind, made, sides[1][kind, first]))
    return "\n\n".join(report)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hidden", type=at_least(1), default=64)
    parser.add_argument("--models", type=at_least(1), default=6, help="of each kind")
    parser.add_argument("--steps", type=at_least(1), default=STEPS)
    options = parser.parse_args()
    with one_thread(), quiet():
        report = measure(options.hidden, options.models, options.steps)
    print(report)


if __name__ == "__main__":
    main()
