"""Every refusal of a checkpoint that docs/errors.md lists, made to happen; prints that page.

Made again with ``python -m tests.support.refusals > docs/errors.md``; tests/docs/test_errors_page.py
compares.
"""

from __future__ import annotations

import json
import pickle
import re
import shutil
import struct
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import torch
from safetensors.torch import load_file, save, save_file

from fixtures.models import _tokenizer, save_checkpoint, tiny_llama
from provenance import Executor, InputsSpec, Store, compare, conversions
from provenance.checkpoints.checkpoint import fetch
from provenance.checkpoints.in_part import open_in_part
from provenance.checkpoints.ranged.reader import Meter
from provenance.checkpoints.ranged.spans import Span
from provenance.errors import ProvenanceError
from provenance.vocabulary import LayoutSpec, ModelSpec
from tests.support.hub_server import COMMIT, serve

WEIGHTS, CONFIG, INDEX = "model.safetensors", "config.json", "model.safetensors.index.json"
GATE = "model.layers.0.mlp.gate_proj.weight"
UP = "model.layers.0.mlp.up_proj.weight"
INPUTS = InputsSpec("random", tokens=256, sequence_length=64)

HEAD = """\
# Errors

This page lists what is refused of a checkpoint, with the message. Each row was made to happen, and
shows the message that was raised; `tests/docs/test_errors_page.py` compares. A refused model fails its own
pairs; all others are judged.

See also [what is read](checkpoints.md), what is [trusted](security.md), and the mistakes of a
[suite](suites.md#mistakes).
"""
TAIL = """
## What is done instead

These are not refused. The evidence says them in `inputs.note`, or in a block's `reason`:

| what is the case | note or reason |
| --- | --- |
{notes}
A block without a test never counts as kin, and a claim that needs it fails.

## What cannot be seen

safetensors has no checksum. A flipped byte in the header is found, as above. A flipped byte in the
weights is found only if it makes a NaN or infinity, or if the file was just downloaded from the hub,
which knows its SHA-256. Otherwise compare the [digest](evidence.md#digests) with that of the
original.
"""


@dataclass(frozen=True)
class Case:
    """One thing that can be wrong: what, under which heading, and how it is done to a folder.

    ``spoil`` is given the folder of a sound checkpoint, and may return the spec that is then asked for;
    ``how`` is asked in place of a comparison.
    """

    section: str
    what: str
    spoil: object
    how: object = None


CASES: list[Case] = []


def case(section, what, how=None):
    def add(spoil):
        CASES.append(Case(section, what, spoil, how))
        return spoil

    return add


def change(folder, **changes):
    file = folder / CONFIG
    config = json.loads(file.read_text()) | changes
    file.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))


@contextmanager
def tensors(folder, file=WEIGHTS):
    found = load_file(folder / file)
    yield found
    save_file(found, folder / file, {"format": "pt"})


def shard(folder):
    """Spread a checkpoint over two files."""
    found = load_file(folder / WEIGHTS)
    names = sorted(found)
    parts = {"part-1.safetensors": names[:9], "part-2.safetensors": names[9:]}
    for file, part in parts.items():
        save_file({name: found[name] for name in part}, folder / file, {"format": "pt"})
    (folder / WEIGHTS).unlink()
    weight_map = {name: file for file, part in parts.items() for name in part}
    (folder / INDEX).write_text(json.dumps({"weight_map": weight_map}))
    return weight_map


FILES = "Files"


@case(FILES, "no such folder")
def _(folder):
    shutil.rmtree(folder)


@case(FILES, "configuration without weights")
def _(folder):
    (folder / WEIGHTS).unlink()


@case(FILES, "weights without configuration")
def _(folder):
    (folder / CONFIG).unlink()


@case(FILES, "a truncated file")
def _(folder):
    file = folder / WEIGHTS
    file.write_bytes(file.read_bytes()[:-1000])


@case(FILES, "a flipped byte in the header")
def _(folder):
    data = bytearray((folder / WEIGHTS).read_bytes())
    data[data.index(b'"F32"') + 1] ^= 1
    (folder / WEIGHTS).write_bytes(data)


@case(FILES, "a flipped byte in a shape")
def _(folder):
    data = bytearray((folder / WEIGHTS).read_bytes())
    data[data.index(b'"shape":[') + 9] ^= 1
    (folder / WEIGHTS).write_bytes(data)


@case(FILES, "a header that is longer than the file")
def _(folder):
    (folder / WEIGHTS).write_bytes(struct.pack("<Q", 2**40) + b"{}")


@case(FILES, "a page of a web server, or a pointer of git-lfs")
def _(folder):
    (folder / WEIGHTS).write_bytes(b"version https://git-lfs.github.com/spec/v1\n")


@case(FILES, "bytes after the last tensor")
def _(folder):
    with (folder / WEIGHTS).open("ab") as file:
        file.write(b"more")


@case(FILES, "shards without an index")
def _(folder):
    shard(folder)
    (folder / INDEX).unlink()


@case(FILES, "a missing shard")
def _(folder):
    shard(folder)
    (folder / "part-2.safetensors").unlink()


@case(FILES, "an index that names a tensor which its shard lacks")
def _(folder):
    shard(folder)
    with tensors(folder, "part-1.safetensors") as found:
        del found["lm_head.weight"]


@case(FILES, "a tensor that the index does not list")
def _(folder):
    shard(folder)
    with tensors(folder, "part-1.safetensors") as found:
        found["extra"] = torch.ones(2)


@case(FILES, "a tensor in two shards")
def _(folder):
    shard(folder)
    with tensors(folder, "part-2.safetensors") as found:
        found["lm_head.weight"] = torch.ones(2)


@case(FILES, "a parameter under two names")
def _(folder):
    with tensors(folder) as found:
        found[GATE.removeprefix("model.")] = torch.ones_like(found[GATE])


@case(FILES, "a shard outside of the folder")
def _(folder):
    weight_map = shard(folder)
    changed = weight_map | {"lm_head.weight": "../other.safetensors"}
    (folder / INDEX).write_text(json.dumps({"weight_map": changed}))


@case(FILES, "a link out of the folder")
def _(folder):
    (folder / WEIGHTS).rename(folder.parent / WEIGHTS)
    (folder / WEIGHTS).symlink_to(folder.parent / WEIGHTS)


SHAPES = "Weights and configuration"


@case(SHAPES, "a missing weight")
def _(folder):
    with tensors(folder) as found:
        del found[GATE]


@case(SHAPES, "extra weights")
def _(folder):
    change(folder, num_hidden_layers=1)


@case(SHAPES, "a weight of another shape")
def _(folder):
    with tensors(folder) as found:
        found[GATE] = found[GATE][:-1].clone()


@case(SHAPES, "NaN or infinity in a weight")
def _(folder):
    with tensors(folder) as found:
        found[GATE][0, 0] = float("nan")


@case(SHAPES, "a vocabulary that is smaller than the configuration's")
def _(folder):
    change(folder, vocab_size=200)


@case(SHAPES, "a model of 10^12 parameters")
def _(folder):
    change(folder, hidden_size=10**6, vocab_size=10**6)


@case(SHAPES, "more blocks than tensors")
def _(folder):
    change(folder, num_hidden_layers=9_999)


@case(SHAPES, "a number of blocks that no model has")
def _(folder):
    change(folder, num_hidden_layers=10**9)


@case(SHAPES, "a configuration that is no JSON")
def _(folder):
    (folder / CONFIG).write_text("{")


@case(SHAPES, "no `model_type`")
def _(folder):
    change(folder, model_type=None)


def run(spec, other):
    with tempfile.TemporaryDirectory() as store:
        executor = Executor(Store(store), "cpu")
        compare(spec, other, inputs=INPUTS, statistic="match", executor=executor)


@case(SHAPES, "an unknown `model_type`, where a statistic runs the model", run)
def _(folder):
    change(folder, model_type="llama99")


def renamed(folder, *pairs):
    """Store tensors under other names, in a model of a type that is not known."""
    change(folder, model_type="llama99")
    content = {}
    for old, tensor in load_file(folder / WEIGHTS).items():
        new = old
        for before, after in pairs:
            new = new.replace(before, after)
        content[new] = tensor
    save_file(content, folder / WEIGHTS, {"format": "pt"})


@case(SHAPES, "an unknown `model_type`, and names that do not say which projection is the gate")
def _(folder):
    renamed(folder, ("gate_proj", "fc_a"), ("up_proj", "fc_b"), ("down_proj", "fc_c"))


@case(SHAPES, "an unknown `model_type`, and no MLP by its names")
def _(folder):
    renamed(folder, (".mlp.", ".self_attn.mlp."))


@case(SHAPES, "an unknown `model_type`, and two lists of blocks that could be the language model's")
def _(folder):
    renamed(folder, ("model.layers.0.", "model.a.0."), ("model.layers.1.", "model.b.0."))


@case(SHAPES, "a `layout` that names what is not there")
def _(folder):
    change(folder, model_type="llama99")
    layout = LayoutSpec(norm="model.layers.{block}.norm.weight", where="a.suite.yaml:7")
    return ModelSpec(path=str(folder), layout=layout)


@case(SHAPES, "a `layout` of a type that is known")
def _(folder):
    return ModelSpec(path=str(folder), layout=LayoutSpec(norm="none", where="a.suite.yaml:7"))


@case(SHAPES, "a family that is no causal language model")
def _(folder):
    change(folder, model_type="t5")


@case(SHAPES, "an encoder-decoder inside a multimodal model")
def _(folder):
    change(folder, model_type="blip-2", text_config={"model_type": "t5"})


@case(SHAPES, "Meta's or Mistral's own format")
def _(folder):
    (folder / "config.json").rename(folder / "params.json")
    (folder / WEIGHTS).rename(folder / "consolidated.00.pth")


@case(SHAPES, "weights under the names of such a format")
def _(folder):
    names = ("layers.0.attention.wq.weight", "layers.0.feed_forward.w1.weight")
    save_file({name: torch.ones(2) for name in names}, folder / WEIGHTS)


@case(SHAPES, "a byte order mark in the configuration")
def _(folder):
    text = (folder / "config.json").read_text()
    (folder / "config.json").write_text(text, encoding="utf-8-sig")


@case(SHAPES, "a type of numbers that torch does not have")
def _(folder):
    change(folder, dtype="bf16")


TRUST = "Pickles and code"


def pickled(folder, content=None):
    torch.save(content or load_file(folder / WEIGHTS), folder / "pytorch_model.bin")
    (folder / WEIGHTS).unlink()


class Payload:
    def __reduce__(self):
        return (print, ("never printed",))


@case(TRUST, "pickled weights alone")
def _(folder):
    pickled(folder)


@case(TRUST, "one of several shards of a pickle, without an index, under `allow_pickle: true`")
def _(folder):
    (folder / WEIGHTS).rename(folder / "pytorch_model-00001-of-00002.bin")
    return ModelSpec(path=str(folder), allow_pickle=True)


@case(TRUST, "several pickles, under `allow_pickle: true`")
def _(folder):
    (folder / WEIGHTS).rename(folder / "last.ckpt")
    (folder / "best.ckpt").touch()
    return ModelSpec(path=str(folder), allow_pickle=True)


@case(TRUST, "a pickled file in the index")
def _(folder):
    weight_map = shard(folder) | {"lm_head.weight": "pytorch_model.bin"}
    (folder / INDEX).write_text(json.dumps({"weight_map": weight_map}))


@case(TRUST, "a pickle with code in it, under `allow_pickle: true`")
def _(folder):
    (folder / WEIGHTS).unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"a": Payload()}))
    return ModelSpec(path=str(folder), allow_pickle=True)


@case(TRUST, "a pickle that claims more than it holds, under `allow_pickle: true`")
def _(folder):
    pickled(folder, {"a": torch.ones(1).expand(10**12)})
    return ModelSpec(path=str(folder), allow_pickle=True)


@case(TRUST, "a model that needs code of its own, where a statistic runs it", run)
def _(folder):
    (folder / "modeling_odd.py").write_text("raise SystemExit\n")
    change(folder, model_type="odd", auto_map={"AutoConfig": "modeling_odd.OddConfig"})


@case(TRUST, "code of another repository, under `trust_remote_code: true`")
def _(folder):
    change(folder, model_type="odd", auto_map={"AutoConfig": "other/repo--odd.OddConfig"})
    return ModelSpec(path=str(folder), trust_remote_code=True)


FORMS = "Adapters, GGUF and quantized weights"


@contextmanager
def absent(module):
    found = conversions.find_spec
    hide = mock.patch.object(
        conversions, "find_spec", lambda name: None if name == module else found(name)
    )
    with hide:
        yield


def without(module):
    def how(spec, other):
        with absent(module):
            measured(spec, other)

    return how


def adapter(folder, **config):
    adapted = folder.with_name("adapter")
    adapted.mkdir()
    settings = {"base_model_name_or_path": str(folder), "peft_type": "LORA"} | config
    (adapted / "adapter_config.json").write_text(json.dumps(settings))
    save_file({"a": torch.ones(2)}, adapted / "adapter_model.safetensors")
    return ModelSpec(path=str(adapted))


@case(FORMS, "an adapter without `peft`", without("peft"))
def _(folder):
    return adapter(folder)


@case(FORMS, "an adapter that names no base")
def _(folder):
    return adapter(folder, base_model_name_or_path=None)


@case(FORMS, "an adapter whose base is not there")
def _(folder):
    return adapter(folder, base_model_name_or_path="./nowhere")


@case(FORMS, "an adapter without weights")
def _(folder):
    spec = adapter(folder)
    (Path(spec.path) / "adapter_model.safetensors").unlink()
    return spec


@case(FORMS, "`base` on what is no adapter")
def _(folder):
    return ModelSpec(path=str(folder), base="org/name")


@case(FORMS, "GGUF without `gguf`", without("gguf"))
def _(folder):
    (folder.parent / "tiny.gguf").write_bytes(b"GGUF")
    return ModelSpec(path=str(folder.parent / "tiny.gguf"))


@case(FORMS, "several GGUF files")
def _(folder):
    (folder / WEIGHTS).unlink()
    for name in ("a.gguf", "b.gguf"):
        (folder / name).write_bytes(b"GGUF")


@case(FORMS, "quantized weights without a reader for them", without("gptqmodel"))
def _(folder):
    with tensors(folder) as found:
        found[GATE] = found[GATE].to(torch.int32)
    change(folder, quantization_config={"quant_method": "gptq", "bits": 4})


@case(FORMS, "weights that MLX quantized")
def _(folder):
    with tensors(folder) as found:
        found[GATE] = found[GATE].to(torch.uint32)
    change(folder, quantization={"group_size": 64, "bits": 4})


@case(FORMS, "a float8 weight without its scale")
def _(folder):
    with tensors(folder) as found:
        found[GATE] = found[GATE].to(torch.float8_e4m3fn)
        found[UP] = found[GATE].clone()
        found[f"{UP}_scale"] = torch.ones(1)
    change(folder, quantization_config={"quant_method": "fp8"})


@case(FORMS, "an unknown method of quantization")
def _(folder):
    with tensors(folder) as found:
        found[GATE] = found[GATE].to(torch.int8)
    change(folder, quantization_config={"quant_method": "made-up"})


@case(FORMS, "a claim of quantization over plain weights")
def _(folder):
    change(folder, quantization_config={"quant_method": "fp8"})


@case(FORMS, "packed weights without a method in the configuration")
def _(folder):
    with tensors(folder) as found:
        found[GATE] = found[GATE].to(torch.int8)


HUB = "The hub and URLs"


@contextmanager
def closed_clients():
    """Close huggingface_hub's pooled connections, which Python would warn of."""
    from huggingface_hub import close_session

    yield
    close_session()


def hub(how):
    """Ask a hub on this machine, after `how` was done to it."""

    def ask(_spec, _other):
        small = {CONFIG: b'{"model_type": "llama"}', WEIGHTS: save({"a": torch.ones(2)})}
        with closed_clients(), serve(small) as running, tempfile.TemporaryDirectory() as cache:
            running.revisions = ("v1", COMMIT)
            how(running)
            with mock.patch("huggingface_hub.constants.HF_HUB_CACHE", cache):
                fetch(ModelSpec(repo="org/tiny", revision="v1"), endpoint=running.endpoint)

    return ask


def answers(status, code="", message="", kind="info"):
    return hub(lambda running: running.answers.update({kind: (status, code, message)}))


for what, how in {
    "a gated repository": answers(401, "GatedRepo", "restricted"),
    "a repository that is missing or private": answers(404, "RepoNotFound", "not found"),
    "a revision that is missing": answers(404, "RevisionNotFound", "Invalid rev id"),
    "a token that is refused (401)": answers(
        401, "", "Invalid credentials in Authorization header"
    ),
    "no access (403)": answers(403, "", "Forbidden"),
    "a file that is missing (404)": answers(404, "EntryNotFound", "Entry not found", "resolve"),
    "too many requests (429)": answers(429, "", "Too many requests"),
    "trouble at the hub (500)": answers(500, "", "oops"),
    "no network": hub(lambda running: setattr(running, "endpoint", "http://127.0.0.1:9")),
    "nothing to load": hub(lambda running: setattr(running, "files", {CONFIG: b"{}"})),
}.items():
    case(HUB, what, how)(lambda _folder: None)


@case(HUB, "a URL at which there is nothing")
def _(_folder):
    return ModelSpec(url="memory://nowhere/at/all")


@case(HUB, "a URL of a kind that is not read")
def _(_folder):
    return ModelSpec(url="zip://model::https://example.com/x.zip")


@case(HUB, "a URL with a password in it")
def _(_folder):
    return ModelSpec(url="https://me:secret@example.com/x")


PART = "When parts of it are read"


def part(how, budget=None):
    """Read parts of a file at a hub on this machine; ``how`` is told of it before and in between."""

    def ask(_spec, _other):
        small = {CONFIG: b'{"model_type": "llama"}', WEIGHTS: save({"a": torch.ones(2**18)})}
        with closed_clients(), serve(small) as running, tempfile.TemporaryDirectory() as store:
            how(running, "before")
            spec, meter = ModelSpec(repo="org/tiny"), Meter(budget)
            found = open_in_part(spec, Store(store), meter, endpoint=running.endpoint)
            how(running, "between")
            found.ranged.read(Span(WEIGHTS, 2**19, 2**19 + 64))

    return ask


def at(when, change):
    return part(lambda running, now: change(running) if now == when else None)


def other_range(headers, body):
    return headers | {"Content-Range": "bytes 7-70/1048576"}, body


def put(data):
    return lambda running: running.files.update({WEIGHTS: data})


def say_no_sha256(running):
    running.large, running.digest = {WEIGHTS}, "unknown"


for what, how in {
    "a hub whose SHA-256 is none": at("before", say_no_sha256),
    "a server that answers no ranges": at(
        "before", lambda running: setattr(running, "whole", True)
    ),
    "a server that answers other bytes": at(
        "between", lambda running: setattr(running, "lie", other_range)
    ),
    "a file that changes between two ranges": at("between", put(bytes(2**20 + 80))),
    "a header of 40 GB": at("before", put(struct.pack("<Q", 40 * 10**9) + bytes(2**17))),
    "more bytes than the budget": part(lambda _running, _now: None, budget=1000),
}.items():
    case(PART, what, how)(lambda _folder: None)


def sample(spec, other):
    with tempfile.TemporaryDirectory() as store:
        compare(spec, other, sample=1, executor=Executor(Store(store), "cpu"))


@case(PART, "an adapter", sample)
def _(folder):
    (folder / WEIGHTS).unlink()
    (folder / "adapter_config.json").write_text("{}")
    (folder / "adapter_model.safetensors").write_bytes(b"")


def float8(folder, method="fp8", **beside):
    """Make one gate float8, and put tensors beside it."""
    with tensors(folder) as found:
        found[GATE] = found[GATE].to(torch.float8_e4m3fn)
        found.update({f"{GATE}_{name}": tensor for name, tensor in beside.items()})
    change(folder, quantization_config={"quant_method": method})


@case(PART, "a quantization whose rows are not read alone", sample)
def _(folder):
    float8(folder, "gptq")


@case(PART, "quantized weights without a scale", sample)
def _(folder):
    float8(folder)


@case(PART, "a scale of another shape than its weight", sample)
def _(folder):
    float8(folder, scale=torch.ones(3))


@case(PART, "a tensor that quantized weights depend on besides", sample)
def _(folder):
    float8(folder, scale=torch.ones(1), zero_point=torch.ones(1))


RUNS = "When it is run"


def of_logits(spec, other):
    with tempfile.TemporaryDirectory() as store:
        executor = Executor(Store(store), "cpu")
        compare(spec, other, statistic="jsd", inputs=INPUTS, executor=executor)


@case(RUNS, "no head of the language model, where a statistic reads what the head says", of_logits)
def _(folder):
    with tensors(folder) as found:
        del found["lm_head.weight"]


@case(RUNS, "NaN or infinity in activations")
def _(folder):
    with tensors(folder) as found:
        found["model.layers.0.post_attention_layernorm.weight"][:] = 3e38


@case(RUNS, "MLPs that are zero throughout")
def _(folder):
    with tensors(folder) as found:
        for name in found:
            if ".mlp." in name:
                found[name].zero_()


def text(spec, other):
    executor = Executor(Store(Path(tempfile.mkdtemp(dir=Path(spec.path).parent))), "cpu")
    compare(other, spec, inputs=InputsSpec(tokens=256), executor=executor)


@case(RUNS, "a tokenizer that cannot be read", text)
def _(folder):
    (folder / "tokenizer.json").write_text("{")


def without_sentencepiece(spec, other):
    with mock.patch("provenance.loading.tokenizer.find_spec", return_value=None):
        text(spec, other)


@case(RUNS, "a SentencePiece model alone, without `sentencepiece`", without_sentencepiece)
def _(folder):
    (folder / "tokenizer.json").unlink(missing_ok=True)
    (folder / "tokenizer.model").write_bytes(b"\n\x0e\n\x05<unk>")


@case(RUNS, "a tokenizer that needs code of its own", text)
def _(folder):
    (folder / "tokenizer.json").unlink(missing_ok=True)
    settings = {"auto_map": {"AutoTokenizer": ["own.OwnTokenizer", None]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def notes(home):
    """What is so, and what evidence says of it."""
    plain = [save_checkpoint(tiny_llama(seed), home / f"plain{seed}") for seed in (0, 1)]
    yield "no tokenizer", note(*plain, home)
    tokenizer = _tokenizer(300)
    small = [save_checkpoint(tiny_llama(seed), home / f"small{seed}", tokenizer) for seed in (0, 1)]
    yield "a vocabulary that is smaller than the tokenizer's ids", note(*small, home)
    with tensors(plain[0]) as found:
        for name in found:
            if "layers.1.mlp." in name:
                found[name].zero_()
    evidence = compare(*plain, inputs=INPUTS, executor=Executor(Store(home / "store"), "cpu"))
    yield "an MLP that is zero throughout", evidence.blocks[1].reason


def note(one, two, home):
    inputs = InputsSpec(tokens=256, sequence_length=64)
    return compare(
        one, two, inputs=inputs, executor=Executor(Store(home / "store"), "cpu")
    ).inputs.note


def measured(spec, other):
    with tempfile.TemporaryDirectory() as store:
        compare(spec, other, inputs=INPUTS, executor=Executor(Store(store), "cpu"))


def message(case, home):
    """What is said of a case, with the folder that it happened in left out."""
    folder = save_checkpoint(tiny_llama(0), home / "model")
    other = save_checkpoint(tiny_llama(1), home / "other")
    spec = case.spoil(folder) or ModelSpec(path=str(folder))
    try:
        (case.how or measured)(spec, other)
    except ProvenanceError as error:
        said = str(error).replace(f"{home}/", "./").replace(f"{home}", ".")
        return re.sub(r"transformers \(\S+\)", "transformers (...)", said)
    raise AssertionError(f"not refused: {case.what}")


def row(case, said):
    return f"| {case.what} | {said.replace('|', chr(92) + '|')} |"


def page():
    lines, section = [HEAD], None
    for found in CASES:
        if found.section != section:
            section = found.section
            lines.append(f"\n## {section}\n\n| fault | message |\n| --- | --- |\n")
        with ExitStack() as closing:
            home = Path(closing.enter_context(tempfile.TemporaryDirectory())).resolve()
            lines.append(row(found, message(found, home)) + "\n")
    return "".join([*lines, TAIL.replace("{notes}", noted())])


def noted():
    with tempfile.TemporaryDirectory() as home:
        found = [*notes(Path(home))]
    return "".join(f"| {what} | {said} |\n" for what, said in found)


if __name__ == "__main__":
    import sys

    sys.stdout.write(page())
