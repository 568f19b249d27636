"""Compute what an audit of many models costs: measured constants, a formula, a simulation of its plan.

``python -m benchmarks.capacity`` measures the constants on this machine, in CPU seconds of one thread, and
prints the cost of a registry. ``--json FILE`` keeps the constants. ``--costs FILE`` reads them from a file,
which you can edit to the speed of another machine.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import json
import resource
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks._arguments import at_least
from benchmarks._table import table
from provenance.architecture.find import find_mlps
from provenance.architecture.units import LinearMap, MLPFactors
from provenance.assignment.solve import assign_all
from provenance.audit.screen import LEVEL, SAMPLE
from provenance.capture.forward import Recording, capture
from provenance.comparison.plan import Comparison, Plan
from provenance.statistics._directions import directions, products
from provenance.store.files import file_sha256
from provenance.store.store import Store
from provenance.vocabulary import ROLES, InputsSpec, ModelSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from provenance.statistics._directions import Directions


@dataclass(frozen=True)
class Costs:
    """Seconds of one worker, by what they grow with.

    ``flop``s are multiplications and additions. ``assign`` and ``exponent`` give the two assignments
    of a pair of blocks of n units, of strangers: ``assign * n ** exponent``. ``entry`` is what the store
    takes for one result.
    """

    capture_flop: float
    read_byte: float
    prepare_flop: float
    product_flop: float
    assign: float
    exponent: float
    entry: float


@dataclass(frozen=True)
class Kind:
    """Models of one shape; ``parameters`` of all blocks, ``width`` bytes a parameter."""

    name: str
    parameters: float
    blocks: int
    hidden: int
    units: int
    width: int = 2


KINDS = {
    "8B": Kind("8B", 7.0e9, 32, 4096, 14336),
    "70B": Kind("70B", 68.5e9, 80, 8192, 28672),
}


def capture_seconds(costs: Costs, kind: Kind, tokens: int) -> float:
    """One model: its files digested and read, and one forward pass."""
    flops = 2 * kind.parameters * tokens
    return flops * costs.capture_flop + kind.parameters * kind.width * costs.read_byte


def match_seconds(costs: Costs, kind: Kind, tokens: int) -> float:
    """One pair of models of this kind, block against block of the same index."""
    n, h = kind.units, kind.hidden
    prepare = 2 * 2 * (tokens * h * h + 2 * n * h * h) * costs.prepare_flop
    product = 2 * (tokens * h * h + 2 * n * h * h + 2 * n * n * h) * costs.product_flop
    read = 2 * (3 * n * h * kind.width + 2 * tokens * h) * costs.read_byte
    return kind.blocks * (prepare + product + read + costs.assign * n**costs.exponent) + costs.entry


def screened_seconds(costs: Costs, kind: Kind, tokens: int) -> tuple[float, float]:
    """One pair of strangers in an audit: its screen, and on average what all of its blocks take after it.

    A screen lets a pair of strangers through by chance, by any one of its blocks.
    """
    whole = match_seconds(costs, kind, tokens)
    few = match_seconds(costs, replace(kind, blocks=min(SAMPLE, kind.blocks)), tokens)
    return few, (1 - (1 - LEVEL) ** SAMPLE) * whole


def _pair_seconds(costs: Costs, kind: Kind, tokens: int, *, screen: bool) -> float:
    if screen:
        return sum(screened_seconds(costs, kind, tokens))
    return match_seconds(costs, kind, tokens)


def bytes_kept(kind: Kind, tokens: int) -> int:
    """What the store keeps of one model: what each MLP is fed."""
    return kind.blocks * kind.hidden * tokens * kind.width


def formula(
    costs: Costs, kind: Kind, models: int, workers: int, tokens: int, *, screen: bool = False
) -> float:
    """Seconds from start to end, if no worker ever waits."""
    pairs = models * (models - 1) // 2
    pair = _pair_seconds(costs, kind, tokens, screen=screen)
    return (models * capture_seconds(costs, kind, tokens) + pairs * pair) / workers


def simulate(
    costs: Costs, kind: Kind, models: int, workers: int, tokens: int, *, screen: bool = False
) -> float:
    """The plan, task by task: a worker that is free takes the first task that is ready.

    A pair is ready when both of its models were captured. Captures go first. With a ``screen`` it is
    compared by a few blocks; when all pairs were, those that were let through are compared whole.
    """
    forward, pair = capture_seconds(costs, kind, tokens), match_seconds(costs, kind, tokens)
    total = models * (models - 1) // 2
    if not screen:
        return _simulate(models, [0.0] * workers, forward, total, pair)
    few, _ = screened_seconds(costs, kind, tokens)
    after = _simulate(models, [0.0] * workers, forward, total, few)
    share = 1 - (1 - LEVEL) ** SAMPLE
    through = int(np.random.default_rng(0).binomial(total, share))
    return _simulate(0, [after] * workers, forward, through, pair)


def _simulate(models: int, free: list[float], forward: float, pairs: int, pair: float) -> float:
    """When the last task ends; ``free`` is when each worker is, ``pair`` what each of ``pairs`` takes."""
    running: list[tuple[float, int]] = []  # captures: when they end, and of which model
    captured = begun = done = 0
    ready = 0 if models else pairs
    while done < pairs:
        now = heapq.heappop(free)
        while running and running[0][0] <= now:
            heapq.heappop(running)
            ready += captured  # the pairs with all that were captured before it
            captured += 1
        if begun < models:
            heapq.heappush(running, (now + forward, begun))
            begun += 1
            heapq.heappush(free, now + forward)
        elif done < ready:
            heapq.heappush(free, now + pair)
            done += 1
        else:  # nothing is ready: wait for the next capture
            heapq.heappush(free, running[0][0])
    return max(free)


def plan_of(models: int) -> tuple[int, float, float]:
    """Pairs of a registry's plan, the seconds that planning takes, and the process' peak in MiB."""
    specs = [ModelSpec(path=f"/models/{i:05}") for i in range(models)]
    inputs = InputsSpec()
    begun = time.monotonic()
    pairs = itertools.combinations(specs, 2)
    plan = Plan.of(Comparison.of(b, a, inputs, "kinship") for a, b in pairs)
    assert len(plan.models()) == models
    took = time.monotonic() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return len(plan.comparisons), took, peak


def _seconds(work: Callable[[], object], repeats: int = 3) -> float:
    """CPU seconds of this process: others that share the machine do not count."""
    found = []
    for _ in range(repeats):
        begun = time.process_time()
        work()
        found.append(time.process_time() - begun)
    return min(found)


def measure(*, small: bool = False) -> Costs:
    """Measure the constants on this machine, on one thread."""
    hidden, tokens = (96, 256) if small else (1024, 2048)
    widths = (128, 192, 256) if small else (1024, 2048, 4096)
    prepare, product, assigned = [], [], []
    for n in widths:
        sides = [_factors(tokens, hidden, n, seed) for seed in (1, 2)]
        flops = 2 * (tokens * hidden**2 + 2 * n * hidden**2)
        prepare.append(_seconds(lambda s=sides[0]: _prepared(s, 0)) / flops)
        ours, theirs = (_prepared(side, role) for role, side in enumerate(sides))
        multiply = _seconds(lambda x=ours.gate, y=theirs.gate: x @ y.T)
        product.append(multiply / (2 * n * n * hidden))
        both = _seconds(lambda x=ours, y=theirs: assign_all(products(x, y)))
        assigned.append(max(1e-6, both - 2 * multiply))
    exponent, scale = np.polyfit(np.log(widths), np.log(assigned), 1)
    return Costs(
        capture_flop=_capture(small=small),
        read_byte=_read(small=small),
        prepare_flop=float(np.median(prepare)),
        product_flop=float(np.median(product)),
        assign=float(np.exp(scale)),
        exponent=float(exponent),
        entry=_entry(),
    )


def _factors(tokens: int, hidden: int, units: int, seed: int) -> MLPFactors:
    generator = torch.Generator().manual_seed(seed)
    gate, up, down = (torch.randn(units, hidden, generator=generator) for _ in range(3))
    inputs = torch.randn(tokens, hidden, generator=generator)
    return MLPFactors(inputs, LinearMap(gate), LinearMap(up), lambda: down)


def _prepared(side: MLPFactors, role: int) -> Directions:
    fresh = replace(side, inputs=side.inputs.clone())  # moments are kept while inputs are
    return directions(fresh, ROLES[role], 0, centred=True)


def _capture(*, small: bool) -> float:
    """CPU seconds a multiplication or addition of a forward pass."""
    hidden, blocks, tokens = (96, 2, 256) if small else (1024, 8, 1024)
    shape = {"hidden_size": hidden, "intermediate_size": 4 * hidden, "num_hidden_layers": blocks}
    config = LlamaConfig(vocab_size=256, num_attention_heads=8, **shape)
    model = LlamaForCausalLM(config).eval()
    recording = Recording(find_mlps(model), by_input=True)
    sequences = list(torch.split(torch.arange(tokens) % 256, 256))
    took = _seconds(lambda: capture(model, recording, sequences, _Nowhere()))
    parameters = sum(p.numel() for p in model.model.layers.parameters())
    return took / (2 * parameters * tokens)


class _Nowhere:
    """A sink."""

    def write(self, name: str, start: int, values: torch.Tensor) -> None:
        """Let go."""


def _read(*, small: bool) -> float:
    """CPU seconds a byte that is digested, and then read again."""
    size = 1 << (20 if small else 28)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "weights"
        file.write_bytes(bytes(size))
        return _seconds(lambda: (file_sha256(file), file.read_bytes())) / size


def _entry() -> float:
    """CPU seconds a result in the store."""
    count = 50
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)

        def fill() -> None:
            for i in range(count):
                store.get_or_create(
                    "evidence",
                    {"i": i, "at": time.monotonic_ns()},
                    lambda f: (f / "evidence.json").write_text("{}" * 10_000) and None,
                )

        return _seconds(fill) / count


def page(costs: Costs, tokens: int, cases: Sequence[tuple[str, int]]) -> str:
    """The constants and what they mean, in Markdown."""
    units = {
        "capture_flop": (1e-9, "GFLOP/s", "a forward pass"),
        "prepare_flop": (1e-9, "GFLOP/s", "preparing a block of one side"),
        "product_flop": (1e-9, "GFLOP/s", "products of units"),
        "read_byte": (1e-6, "MB/s", "digesting and reading files"),
    }
    rows = [
        (what, f"{scale / getattr(costs, name):,.0f} {unit}")
        for name, (scale, unit, what) in units.items()
    ]
    rows.append(
        ("both assignments of a block", f"{costs.assign:.2e} s × units^{costs.exponent:.2f}")
    )
    rows.append(("an entry of the store", f"{1000 * costs.entry:.1f} ms"))
    constants = table(("what", "one thread"), rows)
    head = ("models", "a forward", "a pair", "kept of a model", "worker-days", "16 workers, days")
    lines = []
    for (name, count), screen in itertools.product(cases, (False, True)):
        kind = KINDS[name]
        simulated = simulate(costs, kind, count, 16, tokens, screen=screen)
        expected = formula(costs, kind, count, 16, tokens, screen=screen)
        lines.append(
            (
                f"{count:,} of {name}" + ", screened" * screen,
                f"{capture_seconds(costs, kind, tokens) / 3600:.1f} h",
                f"{_pair_seconds(costs, kind, tokens, screen=screen) / 60:.1f} min",
                f"{bytes_kept(kind, tokens) / 2**30:.2f} GiB",
                f"{expected * 16 / 86400:,.0f}",
                f"{simulated / 86400:,.1f} (formula {expected / 86400:,.1f})",
            )
        )
    return f"{constants}\n\n{table(head, lines)}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print what it means."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=at_least(1), default=4096)
    parser.add_argument("--costs", type=Path, help="take the constants from this file")
    parser.add_argument("--json", type=Path, help="write the constants to this file")
    parser.add_argument("--plan", type=at_least(1), help="only plan a registry of so many models")
    parser.add_argument("--small", action="store_true", help="tiny shapes, for a test")
    given = parser.parse_args(arguments)
    if given.plan:
        pairs, took, peak = plan_of(given.plan)
        print(f"{pairs:,} pairs planned in {took:.1f} s; the process peaks at {peak:.0f} MiB")
        return
    torch.set_num_threads(1)
    if given.costs:
        costs = Costs(**json.loads(given.costs.read_text(encoding="utf-8")))
    else:
        costs = measure(small=given.small)
    if given.json:
        given.json.write_text(json.dumps(asdict(costs)), encoding="utf-8")
    cases = (("8B", 100),) if given.small else (("8B", 1000), ("70B", 100))
    print(page(costs, given.tokens, cases))


if __name__ == "__main__":
    main()
