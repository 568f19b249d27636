"""Results that no run made: any number of claims, with any names, for what draws and exports them."""

from dataclasses import replace
from random import Random

from provenance.evidence.audits import AuditRecord, Night
from provenance.evidence.blocks import AlignedBlocks, BlockEvidence
from provenance.evidence.decide import aggregate
from provenance.evidence.difference import BlockMap, DifferenceRecord, MatrixDifference
from provenance.evidence.exhibits import Exhibit
from provenance.evidence.models import InputsRecord, ModelRecord
from provenance.evidence.records import Evidence
from provenance.evidence.results import (
    ClaimResult,
    ControlResult,
    PartResult,
    Results,
    RunRecord,
    SuiteRecord,
    with_holm,
)
from provenance.evidence.verdict import judge_pair
from provenance.suite.claims import Blocks, Claim
from provenance.suite.yaml12 import Mark
from provenance.vocabulary import InputsSpec
from tests.support.correlations import correlation_of

SCRIPT = "<script>alert(1)</script>"
HIDDEN = "ab\u202ecd\x1b[31m"
VERSIONS = {"provenance": "0.1.0", "torch": "2.13.0"}
WHEN = "2026-11-26T11:53:00+00:00"


def model(name, blocks=4, parameters=1000):
    return ModelRecord(
        source=f"path:./{name}",
        digest=f"sha256:{name}",
        architecture="LlamaForCausalLM",
        blocks=blocks,
        parameters=parameters,
        dtype="float32",
        weights_digest=f"sha256:w-{name}",
    )


def block(index, log10_p, units=(64, 64), salt=0):
    order = list(range(64))
    shuffled = Random(100 * salt + index).sample(order, len(order))
    if log10_p is None:
        return BlockEvidence(
            index, index, None, None, units, (2, 2), 0, "degenerate", "2 of 64 units vary"
        )
    kin = log10_p < -6
    up = order if kin else shuffled
    return BlockEvidence(
        index,
        index,
        log10_p,
        correlation_of(log10_p, min(units)),
        units,
        units,
        64 if kin else 1,
        matchings=(tuple(order), tuple(up)),
    )


def evidence(candidate, reference, blocks, **changes):
    """Evidence on two models, by name, or by record."""
    ours, theirs = (
        side if isinstance(side, ModelRecord) else model(side, len(blocks))
        for side in (candidate, reference)
    )
    found = Evidence(
        statistic="match",
        log10_p=aggregate(blocks),
        blocks=tuple(blocks),
        candidate=ours,
        reference=theirs,
        inputs=InputsRecord("text", "stdlib", 4096, 256, 0, "sha256:ids", None),
        pairing="same-index",
        seed=0,
        device="cpu",
        versions=VERSIONS,
        created=WHEN,
    )
    return replace(found, **changes)


MATRICES = (
    *(f"self_attn.{name}_proj" for name in "qkvo"),
    *(f"mlp.{name}_proj" for name in ("gate", "up", "down")),
)


def matrix(name, block, **changes):
    """One matrix of a difference: an equal one, unless changes say otherwise."""
    found = MatrixDifference(
        name=f"model.layers.{block}.{name}.weight" if block is not None else name,
        block=block,
        reference_block=block,
        shape=(64, 64),
        relative=0.0,
        unchanged=1.0,
        untouched_rows=1.0,
        rank=None,
        ranks=64,
        carried=None,
        noise=None,
        rounding=2.0**-24,
        tolerance=0.0,
        zeros=0.0,
        new_zeros=0.0,
        structure="none",
        kept=1.0,
    )
    return replace(found, **changes)


def difference(blocks=8, **changes):
    """What a fine-tune of some blocks looks like: seven matrices of each, and the embeddings."""
    tuned = {"unchanged": 0.0, "rank": 40, "carried": 0.9, "noise": 0.01, **changes}
    inside = [
        matrix(name, block, **{"relative": 0.002 * 3.0**place, **tuned})
        for block in range(blocks)
        for place, name in enumerate(MATRICES)
    ]
    return DifferenceRecord(
        blocks=tuple(BlockMap(block, block, (64, 64)) for block in range(blocks)),
        of_blocks=(blocks, blocks),
        hidden=(64, 64),
        units=(64, 64),
        matrices=(*inside, matrix("model.embed_tokens.weight", None)),
    )


def kin(candidate, reference, count=4, **changes):
    ps = [-3000.0, -300.0, -30.0, -12.5]
    return evidence(candidate, reference, [block(i, ps[i % 4]) for i in range(count)], **changes)


def strangers(candidate, reference, count=4, salt=0, **changes):
    random = Random(f"{candidate}{reference}{salt}")
    blocks = [
        block(i, min(0.0, max(-2.0, -random.expovariate(2.3))), salt=salt) for i in range(count)
    ]
    return evidence(candidate, reference, blocks, **changes)


def crossed(candidate, reference, count=4, salt=0):
    """Evidence of every block against every block, of strangers."""
    random = Random(f"{candidate}{reference}{salt}x")
    table = tuple(
        tuple(-random.expovariate(2.3) if (i, j) != (0, count - 1) else None for j in range(count))
        for i in range(count)
    )
    aligned = tuple(AlignedBlocks(i, i, table[i][i]) for i in range(count))
    changes = {"pairing": "cross", "cross": table, "alignment": aligned}
    return strangers(candidate, reference, count, salt, **changes)


def claimed(found, expect, line=1, names=None, **changes):
    """One claim on the evidence; its tests fail where it is false."""
    candidate, reference = names or (
        found.candidate.digest.removeprefix("sha256:"),
        found.reference.digest.removeprefix("sha256:"),
    )
    claim = Claim(
        id=f"{candidate}-vs-{reference}",
        candidate=candidate,
        reference=reference,
        expect=expect,
        statistic=found.statistic,
        alpha=1e-6,
        threshold=1e-7,
        blocks=Blocks(),
        tags=(),
        xfail=None,
        skip=None,
        mark=Mark(line, 3, line, 9),
    )
    claim = replace(claim, **changes)
    judgement = judge_pair(claim, found)
    outcome = "failed" if judgement.state == "fails" else "passed"
    part = PartResult(f"a.suite.yaml::{claim.id}[verdict]", outcome, 0.1, None)
    return ClaimResult("a.suite.yaml", claim, judgement, found, parts=(part,))


def results(*claims):
    suite = SuiteRecord(
        path="a.suite.yaml",
        digest="sha256:suite",
        inputs=InputsSpec(),
        models={"base": "path:./base"},
        claims=tuple(result.claim for result in claims),
        controls=True,
    )
    return Results((suite,), with_holm((suite,), claims), VERSIONS, WHEN)


EXHIBITS = (Exhibit("norms", 0.875, 9), Exhibit("tokenizer", None, 0, f"{SCRIPT} has no tokenizer"))


def every_kind():
    """One claim of each fate, hostile names among them."""
    false = claimed(kin("copy", "base", exhibits=EXHIBITS), "independent", 5)
    held = claimed(strangers("other", "base"), "independent", 6)
    null = ControlResult("null", holds=True, log10_p=-0.2, evidence=crossed("other", "base"))
    positive = ControlResult(
        "positive", holds=True, log10_p=-3000.0, evidence=kin("disguised", "base")
    )
    held = replace(held, controls=(null, positive))
    hostile = claimed(kin(SCRIPT, HIDDEN), "derived", 7)
    mixed = evidence("mixed", "base", [block(0, -3000.0), block(1, -0.3), block(2, None)])
    known = claimed(mixed, "finetune", 8, xfail=f"known: {SCRIPT}")
    known = replace(known, parts=(PartResult("a[verdict]", "xfailed", 0.1, SCRIPT),))
    broken = replace(held, judgement=None, evidence=None, controls=(), error=f"no folder {SCRIPT}")
    broken = replace(broken, claim=replace(broken.claim, id="broken", candidate="absent"))
    broken = replace(broken, parts=(PartResult("a::broken[verdict]", "failed", 0.1, SCRIPT),))
    skipped = claimed(strangers("third", "base"), "independent", 9, skip="not ours to say")
    skipped = replace(skipped, judgement=None, evidence=None, parts=())
    return results(held, hostile, known, broken, skipped, false)


def audited():
    """What an audit found that lost a family and gained kin, on claims of every kind."""
    night = Night(
        1, "2026-11-25T03:00:00+00:00", models=9, families=3, kin=4, undecided=1, failed=0
    )
    nights = (night, replace(night, run=2), replace(night, run=3, models=10, families=2, failed=1))
    told = AuditRecord(
        finding="2 families among 10 models, none new since run 2; 1 lost",
        families=(("aurora", "aurora-chat", "aurora-mini"), ("basalt", "basalt-8bit")),
        changes=(
            "new-kin: aurora and aurora-mini: they are kin, p = 1.2e-300",
            "new-model: cirrus",
        ),
        since="2026-11-26T03:00:00+00:00",
        nights=nights,
    )
    return replace(every_kind(), audit=told)


def large(pairs=210, blocks=32):
    """As many claims as the paper's table of models has pairs, each with a null control."""
    made = []
    for i in range(pairs):
        name, other = f"model-{i % 21}", f"model-{(i * 5 + 1 + i // 21) % 21}-{i // 21}"
        if i % 3:
            found = claimed(strangers(name, other, blocks, i), "independent", i)
            made.append(
                replace(
                    found,
                    controls=(
                        ControlResult(
                            "null",
                            holds=True,
                            log10_p=-0.1,
                            evidence=crossed(name, other, blocks, i),
                        ),
                    ),
                )
            )
        else:
            made.append(claimed(kin(name, other, blocks), "finetune", i))
    return results(*made)


FAMILIES = {"aurora": 7, "basalt": 5, "cirrus": 4, "dune": 3, "ember": 2}
"""Models of each family of a registry; those that follow are strangers to all."""


def registry(claims=400, blocks=32):
    """Claims on the pairs of a registry with five families; every ninth says what is false or open."""
    names = [f"{family}-{i}" for family, size in FAMILIES.items() for i in range(size)]
    count = next(n for n in range(2, 1000) if n * (n - 1) // 2 >= claims)
    names = (names + [f"lone-{i}" for i in range(count)])[:count]
    made = []
    pairs = [(later, earlier) for later in range(count) for earlier in range(later)]
    for line, (later, earlier) in enumerate(pairs[:claims], 1):
        name = names[earlier]
        candidate = names[later]
        related = candidate.split("-")[0] == name.split("-")[0] != "lone"
        if related:
            expect = "independent" if line % 9 == 0 else "finetune"
            found = kin(candidate, name, blocks, difference=difference())
            made.append(claimed(found, expect, line))
        elif line % 27 == 0:
            dead = [block(i, None) for i in range(blocks)]
            made.append(claimed(evidence(candidate, name, dead), "independent", line))
        else:
            held = claimed(strangers(candidate, name, blocks, line), "independent", line)
            null = crossed(candidate, name, blocks, line)
            made.append(replace(held, controls=(ControlResult("null", True, -0.1, null),)))  # noqa: FBT003
    run = RunRecord("3f2a91c0d7e4b8a6f5c1", "main", "https://ci.example/runs/7", 212.4)
    return replace(results(*made), run=run)
