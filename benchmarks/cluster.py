"""Compare all pairs of small models on a Ray cluster that loses a node half-way, then without a cluster.

``python -m benchmarks.cluster`` starts two nodes of one CPU each on this machine, and prints the results.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from benchmarks._arguments import at_least
from fixtures.models import save_checkpoint, tiny_llama
from fixtures.transforms import add_noise
from provenance.cluster import run_plan
from provenance.comparison.executor import Executor
from provenance.comparison.plan import Comparison, Plan
from provenance.evidence.decide import decide
from provenance.store.store import Store
from provenance.vocabulary import InputsSpec, ModelSpec, Stage

if TYPE_CHECKING:
    from ray.cluster_utils import Cluster

ROOTS = 4
NODE = {"num_cpus": 1, "object_store_memory": 80 << 20}


def family(folder: Path, count: int) -> list[ModelSpec]:
    """Make random Llamas, hidden 32 and two blocks, and copies of each with noise."""
    specs = []
    for index in range(count):
        model = tiny_llama(index % ROOTS)
        if index >= ROOTS:
            model = add_noise(model, seed=index, scale=0.1)
        specs.append(ModelSpec(path=str(save_checkpoint(model, folder / f"m{index:03d}"))))
    return specs


class Killer:
    """Told of progress; takes a node from the cluster when half of the plan is done."""

    def __init__(self, cluster: Cluster, node: object) -> None:
        self._cluster, self._node = cluster, node
        self.killed_at: Stage | None = None

    def __call__(self, stage: Stage) -> None:
        """Kill once."""
        measuring = stage.subject.startswith("the plan")
        if measuring and self.killed_at is None and stage.done * 2 >= stage.total:
            self.killed_at = stage
            self._cluster.remove_node(self._node, allow_graceful=False)


def on_cluster(plan: Plan, executor: Executor) -> tuple[float, int, Killer]:
    """Run a plan on two nodes, of which one dies; returns seconds, failures, and when it died."""
    from ray.cluster_utils import Cluster  # noqa: PLC0415 - an extra

    cluster = Cluster()
    try:
        cluster.add_node(**NODE, include_dashboard=False)
        killer = Killer(cluster, cluster.add_node(**NODE))
        began = time.monotonic()
        failures = run_plan(plan, executor, cluster.address, killer)
        return time.monotonic() - began, len(failures), killer
    finally:
        cluster.shutdown()


def texts(plan: Plan, executor: Executor) -> list[str]:
    """The evidence of a plan, without the times at which it was made."""
    found = []
    for comparison in plan.comparisons:
        fields = executor.evidence(comparison).to_dict()
        del fields["created"]
        found.append(json.dumps(fields, sort_keys=True))
    return found


def judged(plan: Plan, executor: Executor) -> dict[str, int]:
    """Count the pairs whose verdict is what the making of the models says, and the others."""
    count: Counter[str] = Counter()
    for comparison in plan.comparisons:
        numbers = [int(str(s.path)[-3:]) for s in (comparison.candidate, comparison.reference)]
        truth = "dependent" if len({n % ROOTS for n in numbers}) == 1 else "independent"
        verdict = decide(executor.evidence(comparison), 1e-6)
        count["right" if verdict == truth else f"{truth}, found {verdict}"] += 1
    return dict(count)


def main(arguments: list[str] | None = None) -> None:
    """Print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=at_least(1), default=40)
    given = parser.parse_args(arguments)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        specs = family(folder, given.models)
        inputs = InputsSpec(kind="random", tokens=512, sequence_length=64)
        pairs = itertools.combinations(specs, 2)
        plan = Plan.of(Comparison.of(b, a, inputs, "match") for a, b in pairs)
        cluster, here = (Executor(Store(folder / name), "cpu") for name in ("cluster", "here"))
        seconds, failures, killer = on_cluster(plan, cluster)
        journal = Counter((r["kind"], r["digest"]) for r in cluster.store.journal())
        assert killer.killed_at is not None
        print(f"{len(specs)} models, {len(plan.comparisons)} pairs; two nodes of one CPU")
        print(f"node killed after {killer.killed_at.done} of {killer.killed_at.total} tasks")
        print(f"on the cluster: {seconds:.0f} s, {failures} failures, Ray's start not counted")
        print(f"entries computed: {dict(Counter(kind for kind, _ in journal))}")
        by = Counter(r["pid"] for r in cluster.store.journal() if r["kind"] == "evidence")
        print(f"comparisons by process: {sorted(by.values(), reverse=True)}")
        print(f"computed more than once: {sum(n > 1 for n in journal.values())}")
        began = time.monotonic()
        run_plan(plan, here, "local")
        print(f"in one process: {time.monotonic() - began:.0f} s")
        ours, theirs = texts(plan, cluster), texts(plan, here)
        same = sum(a == b for a, b in zip(ours, theirs, strict=True))
        print(f"the same evidence but for its time: {same} of {len(ours)}")
        print(f"verdicts: {judged(plan, cluster)}")


if __name__ == "__main__":
    main()
