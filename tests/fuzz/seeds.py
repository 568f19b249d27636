"""Sound documents that fuzzing begins with, and what kind of document each target reads."""

from __future__ import annotations

import json
import struct
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

from provenance.checkpoints.token_fingerprint_file import KEY as TOKEN_KEY
from provenance.comparison.fingerprints import serves
from provenance.comparison.token_fingerprints import serves as token_probe
from provenance.inputs.listed_tokens import list_digest
from provenance.inputs.tokens import Inputs, random_ids
from provenance.vocabulary import InputsSpec

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent

CONFIG = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 4,
    "intermediate_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "vocab_size": 8,
}


def safetensors(tensors: dict[str, tuple[int, ...]]) -> bytes:
    """A file of zeros in float32."""
    header, at = {}, 0
    for name, shape in tensors.items():
        size = 4
        for side in shape:
            size *= side
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(at)


WEIGHTS = safetensors({"model.layers.0.mlp.up_proj.weight": (8, 4), "lm_head.weight": (8, 4)})


def bundle(sketch: int | None = 8) -> bytes:
    """A fingerprint of one MLP of 9 units, gate and up of each answer along axes of their own."""
    units, tokens = 9, 16
    columns = tokens if sketch is None else sketch
    digest = "sha256:" + "ab" * 32
    said = {
        "source": "path:~/chat",
        "digest": digest,
        "weights_digest": digest,
        "architecture": "LlamaForCausalLM",
        "blocks": 2,
        "parameters": 1000,
        "dtype": "float32",
        "hidden": 4,
        "mlps": {"0": [{"label": "MLP", "units": units, "live": units}]},
        "inputs": {
            "kind": "random",
            "tokens": tokens,
            "sequence_length": 8,
            "seed": 0,
            "digest": Inputs(random_ids(tokens, 8, 0), InputsSpec(sequence_length=8)).digest,
            "text": None,
            "text_digest": None,
            "vocabulary": 8,
            "note": None,
        },
        "sketch": sketch,
        "serves": serves(),
        "versions": {"provenance": "0.1.0", "python": "3.11.2"},
        "created": "2026-11-26T21:00:00+00:00",
        "skipped": {"1": "MambaMixer"},
        "conversion": None,
        "schema": 1,
    }
    gate, up = (
        b"".join(
            struct.pack(
                f"<{columns}e",
                *(float(column == (unit + turn) % columns) for column in range(columns)),
            )
            for unit in range(units)
        )
        for turn in range(2)
    )
    parts = {
        "0.0.gate": ("F16", [units, columns], gate),
        "0.0.up": ("F16", [units, columns], up),
        "0.0.live": ("I64", [units], struct.pack(f"<{units}q", *range(units))),
        "0.0.share": ("F32", [units], struct.pack(f"<{units}f", *[1 / units] * units)),
    }
    header: dict[str, object] = {"__metadata__": {"provenance.fingerprint": json.dumps(said)}}
    body = b""
    for name, (dtype, shape, data) in parts.items():
        place = [len(body), len(body) + len(data)]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": place}
        body += data
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def token_bundle() -> bytes:
    """A token fingerprint of one MLP, of which 9 units of 12 are held on 40 of the listed tokens."""
    units, tokens = 9, 40
    digest = "sha256:" + "ab" * 32
    said = {
        "source": "path:~/chat",
        "digest": digest,
        "weights_digest": digest,
        "architecture": "LlamaForCausalLM",
        "blocks": 2,
        "parameters": 1000,
        "dtype": "float32",
        "hidden": 4,
        "mlps": {"0": [{"label": "MLP", "units": 12, "live": units}]},
        "listed": list_digest(),
        "tokens": list(range(tokens)),
        "serves": token_probe(),
        "versions": {"provenance": "0.1.0", "python": "3.11.2"},
        "created": "2026-11-26T21:00:00+00:00",
        "skipped": {"1": "left out, for size"},
        "conversion": None,
        "schema": 1,
    }
    rows = units * tokens // 4
    numbers = b"".join(sha256(bytes([place])).digest() for place in range(2 * rows // 32 + 1))
    parts = {
        "0.0.gate": ("U8", [units, tokens // 4], numbers[:rows]),
        "0.0.up": ("U8", [units, tokens // 4], numbers[rows : 2 * rows]),
        "0.0.live": ("I32", [units], struct.pack(f"<{units}i", *range(units))),
        "0.0.share": ("F32", [units], struct.pack(f"<{units}f", *[0.1] * units)),
    }
    header: dict[str, object] = {"__metadata__": {TOKEN_KEY: json.dumps(said)}}
    body = b""
    for name, (dtype, shape, data) in parts.items():
        place = [len(body), len(body) + len(data)]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": place}
        body += data
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def library() -> bytes:
    """The index of a library of that fingerprint alone."""
    entry = {
        "name": "chat",
        "file": "chat.safetensors",
        "sha256": "sha256:" + sha256(token_bundle()).hexdigest(),
        "digest": "sha256:" + "ab" * 32,
        "architecture": "LlamaForCausalLM",
        "blocks": 2,
        "parameters": 1000,
        "statistic": "match_tokens",
    }
    return json.dumps({"entries": [entry], "schema": 1}).encode()


def _kept(name: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted((HERE / "seeds").glob(f"{name}.*"))]


def _compared(evidence: bytes) -> bytes:
    """What ``provenance compare --json`` prints of evidence."""
    fields = json.loads(evidence)
    pair = {"candidate_block": 0, "reference_block": 1, "log10_p": -9.5}
    fields |= {"alignment": [list(pair.values())], "survivors": [[[0, 1], [2, 3]]]}
    return json.dumps({**fields, "verdict": "dependent", "alpha": 1e-6}).encode()


STATEMENT = json.dumps(
    {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [
            {
                "name": "chat",
                "digest": {"sha256": "ab" * 32},
                "annotations": {"source": "path:chat", "digest": "sha256:" + "cd" * 32},
            }
        ],
        "predicateType": "https://in-toto.io/attestation/test-result/v0.1",
        "predicate": {
            "result": "PASSED",
            "configuration": [
                {
                    "name": "a.suite.yaml",
                    "digest": {"sha256": "ef" * 32},
                    "annotations": {"resultsSha256": "01" * 32, "evidenceSha256": {"a": "23" * 32}},
                }
            ],
            "url": "https://ci.example/1",
            "passedTests": ["a.suite.yaml::chat-vs-base[block 0]"],
            "warnedTests": [],
            "failedTests": [],
        },
    }
).encode()

ENVELOPE = json.dumps(
    {
        "payloadType": "application/vnd.in-toto+json",
        "payload": b64encode(STATEMENT).decode(),
        "signatures": [{"keyid": "", "sig": "AAAA"}],
    }
).encode()

TREES = b"""version: 1
x-held: &small {dtype: float32}
inputs: {kind: text, text: stdlib, tokens: 512, sequence_length: 64, seed: 1}
controls: true
models:
  base: {recipe: quickstart/base, <<: *small}
  chat: {path: ./chat, allow_pickle: true}
  tuned: {repo: acme/tuned, revision: 12345678, blocks: 2, trust_remote_code: true}
  pruned: {path: ./pruned, base: base, component: vision}
  other: {url: "s3://bucket/other"}
  named: {path: ./named, layout: {gate: "h.{block}.a", up: "h.{block}.b", down: "h.{block}.c",
   shared: {gate: "h.{block}.s.a", up: "h.{block}.s.b", down: "h.{block}.s.c"},
   experts: {gate: "h.{block}.{expert}.a", up: "h.{block}.{expert}.b", down: "h.{block}.{expert}.c"},
   norm: "h.{block}.norm", norm_kind: layer, norm_offset: 1, embedding: wte, router: "h.{block}.router",
   transposed: true}}
lineage:
  base:
    chat: {tuned: }
    pruned:
  other:
defaults:
  {alpha: 1e-6, statistic: [match, match_tokens], blocks: {at_least: 0.5}, inconclusive: warn,
   permutations: 99, tags: [nightly], exhaustive: true}
exhibits: true
distances: true
pairs:
- {candidate: chat, reference: base, expect: finetune, id: one, tags: [a, b], blocks: [0, 1],
   alpha: {0: 1e-9, default: 1e-6}}
- {candidate: other, reference: base, expect: independent, xfail: known, blocks: cross}
- {candidate: tuned, reference: base, expect: unknown, skip: later, statistic: l2, permutations: 19,
   alpha: 0.005, inconclusive: fail, exhaustive: false, kind: any}
- {candidate: chat, reference: base, id: merged, expect: {merge: {base: 0.7, tuned: 0.3}}, tolerance: 0.05}
- {candidate: chat, reference: base, id: several, expect: merge, parents: [base, pruned, other]}
- {candidate: chat, reference: tuned, id: beyond, expect: derived, given: base}
"""

SAMPLES = b"""version: 1
models: {base: {recipe: quickstart/base}, chat: {path: ./chat}}
defaults: {kind: any, sample: 4, scope: sampled}
pairs:
- {candidate: chat, reference: base, expect: independent, statistic: match_tokens, sample: 2,
   scope: sampled}
- {candidate: chat, expect: {nearest: base}, among: [base], library: ./library, statistic: match_tokens,
   exhaustive: true, id: nearest}
"""

REGISTRY = b"""version: 1
inputs: {kind: text, text: stdlib, tokens: 512, sequence_length: 64, seed: 1}
statistic: match
alpha: 1e-6
exhaustive: true
control: false
distances: true
folder: .
models:
  a: {recipe: quickstart/base, dtype: float32}
  b: {path: ./x, base: a, allow_pickle: true}
  c: {repo: acme/c, revision: main, blocks: 2, trust_remote_code: true}
  d: {url: "s3://bucket/d"}
  f: {path: ./f, component: language}
  e: {path: ./e, layout: {gate: "h.{block}.a", up: "h.{block}.b", down: "h.{block}.c",
   shared: {gate: "h.{block}.s.a", up: "h.{block}.s.b", down: "h.{block}.s.c"},
   experts: {gate: "h.{block}.{expert}.a", up: "h.{block}.{expert}.b", down: "h.{block}.{expert}.c"},
   norm: "h.{block}.norm", norm_kind: layer, norm_offset: 1, embedding: wte, router: "h.{block}.router",
   transposed: true}}
ignore: [{pair: [a, b], reason: x}]
allow: [{model: c, reason: x}]
"""

SEEDS = {
    "suite": [path.read_bytes() for path in sorted((ROOT / "suites").glob("[fq]*.suite.yaml"))],
    "lineage": [TREES, SAMPLES],
    "evidence": _kept("evidence"),
    "results": _kept("results"),
    "reading": [*_kept("results"), *_kept("evidence"), *map(_compared, _kept("evidence"))],
    "verify": [*_kept("results"), *_kept("evidence")],
    "told": _kept("results"),
    "report": _kept("results"),
    "statement": [STATEMENT],
    "envelope": [ENVELOPE],
    "lock": _kept("lock"),
    "registry": [REGISTRY],
    "card": [b"---\nbase_model: [acme/base, acme/other]\nbase_model_relation: merge\n---\n# x\n"],
    "adapter": [b'{"base_model_name_or_path": "acme/base", "r": 8}'],
    "weights": [WEIGHTS],
    "tensors": [WEIGHTS],
    "bundle": [bundle(), bundle(None)],
    "token_bundle": [token_bundle()],
    "library": [library()],
    "pickled": _kept("pickled"),
    "configuration": [json.dumps(CONFIG).encode()],
    "tokenizer": [
        json.dumps(
            {
                "added_tokens": [{"content": "<s>", "id": 0, "special": True}],
                "decoder": {"decoders": [{"type": "ByteFallback"}], "type": "Sequence"},
                "model": {"type": kind, "vocab": vocabulary},
                "pre_tokenizer": None,
            }
        ).encode()
        for kind, vocabulary in (
            ("BPE", {"<s>": 0, "\u2581the": 1, "<0x0A>": 2, "a": 3}),
            ("WordPiece", {"[UNK]": 1, "the": 2, "##s": 3}),
            ("Unigram", [["<s>", 0.0], ["\u2581the", -1.5]]),
        )
    ],
    "index": [
        json.dumps(
            {
                "metadata": {"total_size": 256},
                "weight_map": {
                    "model.layers.0.mlp.up_proj.weight": "one.safetensors",
                    "lm_head.weight": "one.safetensors",
                },
            }
        ).encode()
    ],
    "entry": [
        json.dumps(
            {
                "created": "x",
                "fields": {"key": 1},
                "files": {"a": {"sha256": sha256(b"true").hexdigest(), "size": 4}},
                "kind": "evidence",
                "schema": 1,
            }
        ).encode()
    ],
    "distant": [
        json.dumps(
            {
                "created": "x",
                "fields": {"key": 1},
                "files": {"a": {"sha256": sha256(b"true").hexdigest(), "size": 4}},
                "kind": "evidence",
                "schema": 1,
            }
        ).encode()
    ],
}  # fmt: skip

KINDS = {
    "suite": "yaml",
    "lineage": "yaml",
    "registry": "yaml",
    "card": "card",
    "lock": "toml",
    "weights": "safetensors",
    "tensors": "safetensors",
    "bundle": "bundle",
    "token_bundle": "bundle",
    "pickled": "zip",
    "envelope": "envelope",
}
"""What is no JSON."""
