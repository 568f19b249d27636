"""Run a suite in parts by submitit, as a job array where there is Slurm, and judge it when they have ended.

python parts.py suites/ --parts 8 --store /shared/provenance
"""

import argparse
import subprocess
import sys
from pathlib import Path

import submitit


def run_part(suite: str, store: str, part: str) -> int:
    """Compute one part; what cannot be compared is left for whoever judges, and fails no job."""
    command = [sys.executable, "-m", "pytest", suite, "--provenance-store", store]
    return subprocess.run([*command, "--provenance-shard", part], check=True).returncode


def main() -> int:
    """Submit, wait, merge; returns pytest's exit code."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("suite")
    asked.add_argument("--parts", type=int, default=8)
    asked.add_argument("--store", required=True, help="a folder that all nodes share, or a URL")
    asked.add_argument("--logs", type=Path, default=Path("parts-logs"))
    asked.add_argument(
        "--cluster", help="slurm, local, or debug (default: slurm where there is one)"
    )
    found = asked.parse_args()

    executor = submitit.AutoExecutor(folder=found.logs, cluster=found.cluster)
    executor.update_parameters(timeout_min=240, mem_gb=48, cpus_per_task=4, gpus_per_node=0)
    with executor.batch():  # on Slurm: one array
        parts = [f"{k}/{found.parts}" for k in range(1, found.parts + 1)]
        jobs = [executor.submit(run_part, found.suite, found.store, part) for part in parts]
    for part, job in zip(parts, jobs, strict=True):
        if (error := job.exception()) is not None:
            print(f"part {part} did not end: {error}", file=sys.stderr)
    merge = [sys.executable, "-m", "provenance.cli", "merge", found.suite]
    return subprocess.run([*merge, "--provenance-store", found.store], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
