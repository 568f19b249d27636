"""Call the paper's public code on two local models, without its hub login and its data set.

This file runs by its path in the environment of that code, where nothing of this package is:
``python _rival_paper.py STATISTIC CODE REFERENCE CANDIDATE``. CODE is a clone of the authors' repository.

Their functions move tensors to ``cuda``. Where there is none, the name leads to the processor: the numbers
are computed elsewhere, and by the same steps. For ``match``, their data loader of random token ids is used,
as ``main.py --dataset random`` does, and one block, since each block costs four passes of the data.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoModelForCausalLM

if TYPE_CHECKING:
    from collections.abc import Callable

BLOCK = 1
"""It stands at its own index in every kin that is compared, deeper and shallower ones too."""

SEQUENCES, LENGTH = 20, 512
"""What ``main.py`` passes for its random data."""


def main(statistic: str, code: str, reference: str, candidate: str) -> None:
    """Print one line of JSON after whatever the authors' functions print."""
    if not torch.cuda.is_available():
        _keep_on_the_processor()
    sys.path.insert(0, code)
    torch.manual_seed(0)
    models = [
        AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).eval()
        for folder in (reference, candidate)
    ]
    found = {"csu": _csu, "match": _match}[statistic](*models)
    print(json.dumps(found))


def _csu(reference: torch.nn.Module, candidate: torch.nn.Module) -> dict[str, float]:
    from tracing.statistics import csu  # noqa: PLC0415 - on the path only now

    p, _ = csu.statistic(reference, candidate)
    return {"p": float(p)}


def _match(reference: torch.nn.Module, candidate: torch.nn.Module) -> dict[str, float]:
    from tracing.statistics import match  # noqa: PLC0415 - on the path only now
    from tracing.utils import evaluate  # noqa: PLC0415

    dataset = evaluate.prepare_random_sample_dataset(SEQUENCES, LENGTH)
    loader = evaluate.prepare_hf_dataloader(dataset, 1)
    p = match.statistic_layer(reference, candidate, loader, i=BLOCK)
    return {"p": float(p), "block": BLOCK}


def _keep_on_the_processor() -> None:
    """Make ``to("cuda")`` mean the processor, for tensors and modules."""
    for kind in (torch.Tensor, torch.nn.Module):
        kind.to = _to_the_processor(kind.to)


def _to_the_processor(move: Callable[..., Any]) -> Callable[..., Any]:
    def to(self: object, *places: object, **options: object) -> object:
        here = ["cpu" if str(place).startswith("cuda") else place for place in places]
        return move(self, *here, **options)

    return to


if __name__ == "__main__":
    main(*sys.argv[1:])
