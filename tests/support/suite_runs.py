"""Runs of one suite in processes of their own, and what they leave in a store and in results."""

import json
import os
import subprocess
import sys
from collections import Counter
from itertools import combinations

from fixtures.models import save_checkpoint, tiny_llama
from fixtures.transforms import add_noise
from provenance import Results, Store

HEAD = """\
version: 1
inputs: {kind: random, tokens: 512, sequence_length: 64}
defaults: {statistic: match, alpha: 1e-6}
models:
"""
SUITE = "a.suite.yaml"
PATIENCE = 300


def write_suite(folder, models):
    """A suite of all pairs of two families, of a model that is not there, and of controls."""
    lines = [HEAD]
    for index in range(models):
        model = tiny_llama(index % 2)
        if index > 1:
            model = add_noise(model, seed=index, scale=0.1)
        save_checkpoint(model, folder / f"m{index}")
        lines.append(f"  m{index}: {{path: ./m{index}}}\n")
    lines.append("  gone: {path: ./gone, blocks: 2}\ncontrols: true\npairs:\n")
    for a, b in combinations(range(models), 2):
        expect = "independent" if (b - a) % 2 else "derived"
        lines.append(f"  - {{candidate: m{b}, reference: m{a}, expect: {expect}}}\n")
    lines.append(
        "  - {candidate: gone, reference: m0, expect: independent, xfail: it is not there}\n"
    )
    (folder / SUITE).write_text("".join(lines))
    (folder / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    return folder


def start(folder, out, *arguments, python=sys.executable):
    """Begin to test the suite of a folder; the store and the evidence are below ``out``."""
    called = [python, "-m", "pytest", SUITE, "-p", "no:cacheprovider"]
    called += ["--provenance-store", str(out / "store"), "--provenance-evidence", str(out / "kept")]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTEST_ADDOPTS": ""}
    piped = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen([*called, *arguments], cwd=folder, env=environment, **piped)


def finish(running):
    """What it has said when it has ended."""
    with running:
        try:
            out, _ = running.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            running.kill()
            raise
    return out


def found(out):
    """What each claim's outcomes and evidence are, apart from times."""
    results = Results.from_json((out / "kept" / "results.json").read_text())
    states = [(one.claim.id, one.state, one.error) for one in results.claims]
    files = {}
    for path in sorted((out / "kept" / SUITE).glob("*.json")):
        fields = json.loads(path.read_text())
        del fields["created"]
        files[path.name] = json.dumps(fields)
    return states, files


def journal(out):
    """How often each entry was computed."""
    return Counter((r["kind"], r["digest"]) for r in Store(out / "store").journal())


def count(out, kind):
    """How many entries of a kind were computed."""
    return sum(1 for one, _ in journal(out) if one == kind)
