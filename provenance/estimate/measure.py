"""Measures `Constants` on small shapes: ``python -m provenance.estimate.measure`` prints them as JSON.

Seconds are those of the processor, so that what else runs on the machine counts little.
"""

from __future__ import annotations

import json
import math
import resource
import sys
import tempfile
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from provenance.estimate.constants import Constants

if TYPE_CHECKING:
    from collections.abc import Callable

    from provenance.architecture.units import MLPFactors
    from provenance.statistics._directions import Directions

TOKENS, HIDDEN = 512, 128
WIDTHS = (256, 512, 1024)
"""Units of the blocks that are matched."""
BYTES = 1 << 26
"""Of the file that is read."""
CHARACTERS = 100_000


def measure() -> Constants:
    """Measure the constants, in about ten seconds of one core; the process must be fresh."""
    import torch
    import transformers
    from transformers import LlamaConfig, LlamaForCausalLM  # noqa: F401 - the model's code is loaded

    import provenance.statistics.match  # noqa: F401 - and what a comparison imports

    start = time.process_time()
    assert transformers.__version__
    opening = _opening_costs()
    resident = _resident()
    torch.set_num_threads(1)
    step, training, forward = _model_costs()
    product, matching, assign, exponent = _matching_costs()
    return Constants(
        start,
        opening,
        resident,
        step,
        training,
        forward,
        product,
        matching,
        assign,
        exponent,
        _read_costs(),
        _tokenizer_costs(),
    )


def _resident() -> int:
    """Bytes of memory that this process has held at most."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _seconds(work: Callable[[], object], repeats: int = 3) -> float:
    """Processor seconds of this process, the least of several."""
    found = []
    for _ in range(repeats):
        begun = time.process_time()
        work()
        found.append(time.process_time() - begun)
    return max(min(found), 1e-9)


def _model_costs() -> tuple[float, float, float]:
    """A step's fixed part, and seconds a multiplication or addition of training and of a forward pass."""
    import torch

    from provenance.recipes.settings import TrainSettings
    from provenance.recipes.train import train

    ids = torch.arange(4096) % 512
    times, flops = [], []
    for hidden in (64, 384):
        model = _model(hidden)
        settings = TrainSettings(steps=4, batch=4, length=64)
        train(model, ids, TrainSettings(steps=1, batch=4, length=64))  # what is allocated once
        times.append(_seconds(partial(train, model, ids, settings), 2) / 4)
        flops.append(6 * sum(p.numel() for p in model.parameters()) * 4 * 64)
    rate = (times[1] - times[0]) / (flops[1] - flops[0])
    batch = ids[:1024].reshape(4, 256)
    with torch.inference_mode():
        took = _seconds(lambda: model.model(batch))
    weights = sum(p.numel() for p in model.model.layers.parameters())
    return max(times[0] - rate * flops[0], 1e-4), rate, took / (2 * weights * 1024)


def _opening_costs() -> float:
    """Seconds of a forward pass of a model that has next to no parameters, from its files to the store."""
    from provenance.comparison.executor import Executor
    from provenance.comparison.plan import Capture
    from provenance.store.store import Store
    from provenance.vocabulary import InputsSpec, ModelSpec

    with tempfile.TemporaryDirectory() as folder:
        _model(64).save_pretrained(folder)
        store = Store(Path(folder) / "store")
        asked = Capture(ModelSpec(path=folder), InputsSpec(kind="random"), gated=True)
        executor = Executor(store, "cpu")
        return _seconds(lambda: executor.capture(asked), 1)


def _model(hidden: int):  # type: ignore[no-untyped-def]  # noqa: ANN202 - transformers has no types here
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=512,
        hidden_size=hidden,
        intermediate_size=3 * hidden,
        num_hidden_layers=4,
        num_attention_heads=4,
    )
    return LlamaForCausalLM(config).eval()


def _matching_costs() -> tuple[float, float, float, float]:
    """Seconds a multiplication of products, of a small pair of blocks, and of assignments."""
    import numpy as np
    import torch

    from provenance.statistics.match import match, prepare
    from provenance.vocabulary import ROLES

    assigned = []
    for units in WIDTHS:
        sides = [prepare(_factors(units, seed), role, 0) for seed, role in enumerate(ROLES)]
        multiply = _seconds(partial(torch.mm, sides[0].gate, sides[1].gate.T))
        both = _seconds(partial(_assigned, *sides), 1)
        assigned.append(max(1e-6, both - 2 * multiply))
    exponent, scale = np.polyfit(np.log(WIDTHS), np.log(assigned), 1)
    whole = _seconds(lambda: match(_factors(64, 0), _factors(64, 1)))
    inner = sides[0].gate.shape[1]
    product = multiply / (2 * WIDTHS[-1] ** 2 * inner)
    return product, whole, float(math.exp(scale)), float(exponent)


def _assigned(candidate: Directions, reference: Directions) -> None:
    from provenance.assignment.solve import assign_all
    from provenance.statistics._directions import products

    assign_all(products(candidate, reference))


def _factors(units: int, seed: int) -> MLPFactors:
    import torch

    from provenance.architecture.units import LinearMap, MLPFactors

    draw = torch.Generator().manual_seed(seed)
    gate, up, down = (torch.randn(units, HIDDEN, generator=draw) for _ in range(3))
    inputs = torch.randn(TOKENS, HIDDEN, generator=draw)
    return MLPFactors(inputs, LinearMap(gate), LinearMap(up), lambda: down)


def _read_costs() -> float:
    """Seconds a byte that is digested, and read."""
    from provenance.store.files import file_sha256

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "weights"
        file.write_bytes(bytes(BYTES))
        return _seconds(lambda: (file_sha256(file), file.read_bytes())) / BYTES


def _tokenizer_costs() -> float:
    from provenance.recipes.settings import CorpusSettings, TokenizerSettings
    from provenance.recipes.tokenizer import train_tokenizer

    settings = TokenizerSettings(corpus=CorpusSettings(characters=CHARACTERS))
    return _seconds(lambda: train_tokenizer(settings), 1) / CHARACTERS


if __name__ == "__main__":
    json.dump(asdict(measure()), sys.stdout)
