"""A model's spec to verified local files: found, downloaded, made on the spot, or converted.

What is made or converted is kept in the store, under all that it depends on. Nothing here imports
torch, unless there is something to make or to convert that the store does not hold.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from provenance import recipes
from provenance._text import expanded, visible
from provenance.checkpoints.checkpoint import (
    Checkpoint,
    base_of,
    fetch,
    lasting_digest,
    open_checkpoint,
    tokenizer_digest,
)
from provenance.checkpoints.contents import inspect
from provenance.checkpoints.fingerprint_file import is_bundle
from provenance.checkpoints.in_part import open_in_part
from provenance.checkpoints.loaders import loader_at
from provenance.checkpoints.prefixes import left_out, taken_away
from provenance.checkpoints.ranged.reader import Meter
from provenance.checkpoints.safetensors_header import hash_tensors, stored_tensors
from provenance.checkpoints.token_fingerprint_file import read_bundle
from provenance.errors import BundleError, SourceError
from provenance.evidence.models import ADAPTER
from provenance.vocabulary import ModelSpec, Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from provenance.checkpoints.formats import Contents
    from provenance.store.store import JSON, Entry, Store
    from provenance.vocabulary import Action, Disguise


COMPONENT_VERSION = 1
"""Raised whenever the same component would give another checkpoint."""

LONGEST = 200
"""Characters of a name that a stranger wrote."""


class Models:
    """Checkpoints by their specs, each opened once.

    Parameters
    ----------
    store : Store
        Keeps the checkpoints that are made, and the digests of files.
    tell : callable
        Told of progress.
    device : str
        Where checkpoints are converted that need a GPU for it: "auto", "cpu", "cuda" or "cuda:N".
    meter : Meter, optional
        Counts what is moved of checkpoints that are opened in part.
    """

    def __init__(
        self,
        store: Store,
        tell: Callable[[Stage], None],
        device: str = "cpu",
        meter: Meter | None = None,
    ) -> None:
        self.store = store
        self._meter = meter or Meter()
        self._in_part: dict[ModelSpec, Checkpoint] = {}
        self._device = device
        self._tell = tell
        self._opened: dict[ModelSpec, Checkpoint] = {}
        self._opening: set[ModelSpec] = set()

    def checkpoint(self, spec: ModelSpec) -> Checkpoint:
        """Verified local files of a model: found, downloaded, made, or converted.

        Raises
        ------
        SourceError
            If they cannot be had or cannot be trusted.
        """
        if spec in self._opening:
            raise SourceError(f"{spec.source} is an adapter on itself; give its base as base:")
        if spec not in self._opened:
            self._opening.add(spec)
            try:
                self._opened[spec] = self._checkpoint(spec)
            finally:
                self._opening.remove(spec)
        return self._opened[spec]

    def in_part(self, spec: ModelSpec) -> Checkpoint:
        """A checkpoint of which parts are read where they lie: its headers, and no weight.

        Raises
        ------
        SourceError
            If it cannot be had in part, or cannot be trusted.
        """
        if spec.component is not None:
            raise SourceError(
                f"{spec.source} is a component, which is read whole: compare without --sample"
            )
        if spec not in self._in_part:
            folder = None
            if spec.repo is None and spec.url is None:
                folder, _ = self._place(spec)
                if is_bundle(folder):
                    raise SourceError(
                        f"{spec.source} is a fingerprint, of which there is nothing to sample: compare "
                        "without --sample"
                    )

            def tell(done: int, total: int) -> None:
                self._tell(Stage("download", spec.source, done, total))

            self._in_part[spec] = open_in_part(spec, self.store, self._meter, tell, folder=folder)
        return self._in_part[spec]

    def _checkpoint(self, spec: ModelSpec) -> Checkpoint:
        if spec.disguised is not None:
            return self._disguised(spec, spec.disguised)
        if spec.component is not None:
            return self._component(spec, spec.component)
        place, spec = self._place(spec)
        if spec.path is not None and is_bundle(place):
            return self._bundle(place, spec)
        contents = inspect(place, allow_pickle=spec.allow_pickle)
        if spec.base is not None and contents.format != "adapter":
            raise SourceError(f"{spec.source} is no adapter, so that it has no base; remove base:")
        if contents.format == "wrapped":
            return self._from_wrapped(contents, spec)
        return self._opened_as(contents, spec)

    def _opened_as(self, contents: Contents, spec: ModelSpec) -> Checkpoint:
        openers = {
            "plain": self._open,
            "adapter": self._from_adapter,
            "gguf": self._from_gguf,
            "pickle": self._from_pickle,
            "quantized": self._from_quantized,
        }
        return openers[contents.format](contents, spec)

    def _from_wrapped(self, contents: Contents, spec: ModelSpec) -> Checkpoint:
        """A wrapped or compiled model's checkpoint, under the names of the model."""

        def make(folder: Path) -> None:
            from provenance.conversions.wrapped import unwrap

            unwrap(contents, folder)

        fields: dict[str, JSON] = {
            "conversion": "wrapped",
            "config": lasting_digest(contents.config),
            "weights": {file.name: self.store.sha256(file) for file in contents.files},
            "tokenizer": tokenizer_digest(contents.folder, self.store.sha256),
            "code": {
                file.name: self.store.sha256(file) for file in sorted(contents.folder.glob("*.py"))
            },
        }
        made = self._opened_as(inspect(self._kept(spec.source, fields, make).path), spec)
        parts = ", ".join(visible(part[:LONGEST]) for part in taken_away(contents.plain))
        says = f"read without {parts} in the names of its tensors"
        return replace(made, conversion=_after(says, made))

    def _open(self, contents: Contents, spec: ModelSpec) -> Checkpoint:
        return open_checkpoint(contents, spec, self.store.sha256, self._tensor_hashes)

    def _bundle(self, file: Path, spec: ModelSpec) -> Checkpoint:
        """A fingerprint bundle, which stands in the place of a checkpoint; its digest is the file's."""
        if spec != ModelSpec(path=spec.path, blocks=spec.blocks):
            raise SourceError(
                f"{spec.source} is a fingerprint: it takes no key besides path and blocks"
            )
        fingerprint = read_bundle(file)
        digest = "sha256:" + self.store.sha256(file)
        return Checkpoint(
            spec=spec,
            source=spec.source,
            folder=file,
            digest=digest,
            weights_digest=digest,
            tokenizer_digest=None,
            config={
                "model_type": "fingerprint",
                "architectures": [fingerprint.architecture],
                "num_hidden_layers": fingerprint.blocks,
            },
            parameters=fingerprint.parameters,
            conversion=fingerprint.conversion,
            bundle=fingerprint,
        )

    def _tensor_hashes(self, file: Path) -> Mapping[str, str]:
        text = self.store.remembered(file, "tensors", lambda real: json.dumps(hash_tensors(real)))
        hashes: dict[str, str] = json.loads(text)
        return hashes

    def _place(self, spec: ModelSpec) -> tuple[Path, ModelSpec]:
        """Where a model's files are, and its spec, of a repository with the commit."""
        if spec.recipe is not None:
            return self._made(spec.recipe).path, spec
        if spec.path is not None:
            return Path(expanded(spec.path)), spec
        if spec.url is not None:
            return self._fetched(spec)
        self._tell(Stage("download", spec.source))
        folder, commit = fetch(spec)
        return folder, replace(spec, revision=commit)

    def _fetched(self, spec: ModelSpec) -> tuple[Path, ModelSpec]:
        """The folder that the files at an address were brought to, anew when they change; and the spec.

        Where the address has a form that means these very files, that is the spec's.
        """
        loader = loader_at(spec)
        self._tell(Stage("download", spec.source))
        remote = loader.look_up(spec)
        address = remote.pinned or remote.url
        fields: dict[str, JSON] = {"url": address, "files": remote.states}

        def make(folder: Path) -> None:
            loader.download(
                remote, folder, lambda i, n: self._tell(Stage("download", spec.source, i, n))
            )

        # whoever needs it elsewhere can fetch it there
        kept = self._kept(spec.source, fields, make, action="download", here=True)
        return kept.path, replace(spec, url=address)

    def _made(self, name: str) -> Entry:
        """A recipe's checkpoint folder, made by this process if by none before."""
        recipe = recipes.get(name)
        parent = None if recipe.parent is None else self._made(recipe.parent).path
        others = {other: self._made(other).path for other in recipe.others}

        def make(folder: Path) -> None:
            from provenance.recipes.build import build

            def tell(done: int, total: int) -> None:
                self._tell(Stage("make", name, done, total))

            build(recipe, folder, parent, tell, others, self.store)

        return self._kept(name, recipe.fields(), make)

    def _disguised(self, spec: ModelSpec, disguise: Disguise) -> Checkpoint:
        """A copy of a model in a disguise that keeps its function: the positive control."""
        from provenance.comparison.disguised import DISGUISE_VERSION, save_disguised

        original = self.checkpoint(replace(spec, disguised=None))
        if original.bundle is not None:
            raise BundleError(
                f"{original.source} is a fingerprint: it has no weights to make a disguised copy of, so "
                "that independence of it has no positive control: set controls: power, or use the model"
            )
        fields: dict[str, JSON] = {"disguise": DISGUISE_VERSION, "of": original.digest}
        if disguise != "all":
            fields["kind"] = disguise
        entry = self._kept(
            spec.source, fields, lambda folder: save_disguised(original, folder, disguise)
        )
        return self._open(inspect(entry.path), spec)

    def _component(self, spec: ModelSpec, component: str) -> Checkpoint:
        """One part of a model, as a checkpoint of its own; a language model is what is read anyhow."""
        from provenance.checkpoints.components import prefix_of

        whole = self.checkpoint(replace(spec, component=None))
        if whole.bundle is not None:
            raise BundleError(f"{whole.source} is a fingerprint: it has no components")
        if component == "language":
            return replace(whole, spec=spec, source=f"{whole.source}#{component}")
        prefix = prefix_of(component, whole.tensors, whole.config, whole.source)
        fields: dict[str, JSON] = {
            "conversion": "component",
            "version": COMPONENT_VERSION,
            "of": whole.digest,
            "component": component,
            "prefix": prefix,
            "tokenizer": whole.tokenizer_digest,
        }

        def make(folder: Path) -> None:
            from provenance.conversions.component import extract

            extract(whole, component, prefix, folder)

        kept = self._kept(spec.source, fields, make, action="convert")
        made = self._open(inspect(kept.path), replace(spec, trust_remote_code=False))
        says = f"its part {prefix[:-1]}" if prefix else f"all of it, taken for its {component}"
        return replace(
            made,
            spec=spec,
            source=f"{whole.source}#{component}",
            conversion=_after(says, whole),
            pickle=whole.pickle,
        )

    def _from_adapter(self, contents: Contents, spec: ModelSpec) -> Checkpoint:
        """An adapter merged into its base, which is a model like any other."""
        try:
            base = self.checkpoint(base_of(contents, spec, recipes.RECIPES))
        except SourceError as error:
            other = "" if spec.base else "; give it with base: in a suite, or with --base"
            raise SourceError(f"{spec.source}: its base cannot be had: {error}{other}") from error
        (file,) = contents.files
        fields: dict[str, JSON] = {
            "base": base.digest,
            "base tokenizer": base.tokenizer_digest,
            "config": lasting_digest(contents.config),
            "weights": self.store.sha256(file),
        }

        def make(folder: Path) -> None:
            from provenance.conversions.adapter import merge_adapter

            merge_adapter(contents, base, folder, spec.source, spec.dtype)

        onto = f"{base.source}, {base.conversion}" if base.conversion else base.source
        made = self._converted(contents, spec, fields, make)
        says = f"{ADAPTER}{onto}{_without_heads(file, made)}{_other_base(contents, spec, base)}"
        pickled = base.pickle or not file.name.endswith(".safetensors")
        return replace(
            made, conversion=says, pickle=pickled, remote_code=made.remote_code or base.remote_code
        )

    def _from_gguf(self, contents: Contents, spec: ModelSpec) -> Checkpoint:
        def make(folder: Path) -> None:
            from provenance.conversions.gguf import convert_gguf

            convert_gguf(contents, folder, spec.source, spec.dtype)

        fields = {"weights": self.store.sha256(contents.files[0])}
        made = self._converted(contents, spec, fields, make)
        return replace(made, conversion=f"{contents.files[0].name} dequantized")

    def _from_pickle(self, contents: Contents, spec: ModelSpec) -> Checkpoint:
        def make(folder: Path) -> None:
            from provenance.conversions.pickled import convert_pickle

            convert_pickle(contents, folder, spec.source)

        fields: dict[str, JSON] = {
            "config": lasting_digest(contents.config),
            "weights": {file.name: self.store.sha256(file) for file in contents.files},
        }
        made = self._converted(contents, spec, fields, make)
        return replace(made, conversion=_after("converted from a pickle", made), pickle=True)

    def _from_quantized(self, contents: Contents, spec: ModelSpec) -> Checkpoint:
        original = self._open(contents, spec)
        method = contents.method or ""

        def make(folder: Path) -> None:
            from provenance.conversions.quantized import dequantize
            from provenance.loading.devices import lease

            with lease(self._device, self.store.root / "locks") as device:
                dequantize(original, method, folder, device)

        made = self._converted(contents, spec, {"original": original.digest}, make)
        return replace(made, conversion=f"{method} dequantized")

    def _converted(
        self,
        contents: Contents,
        spec: ModelSpec,
        fields: Mapping[str, JSON],
        make: Callable[[Path], None],
    ) -> Checkpoint:
        """The plain checkpoint that is made of something else, once for all who need it."""
        from provenance.conversions import CONVERSION_VERSION

        key: dict[str, JSON] = {
            "conversion": contents.format,
            "version": CONVERSION_VERSION,
            "dtype": spec.dtype,
            "tokenizer": tokenizer_digest(contents.folder, self.store.sha256),
            **fields,
        }
        kept = self._kept(spec.source, key, make, action="convert")
        made = inspect(kept.path)
        if made.format == "wrapped":
            return self._from_wrapped(made, spec)
        return self._open(made, spec)

    def _kept(
        self,
        subject: str,
        fields: Mapping[str, JSON],
        make: Callable[[Path], None],
        *,
        action: Action = "make",
        here: bool = False,
    ) -> Entry:
        def build(folder: Path) -> None:
            self._tell(Stage(action, subject))
            make(folder)

        return self.store.get_or_create(
            "checkpoint", fields, build, lambda: self._tell(Stage("wait", subject)), here=here
        )


def _other_base(adapter: Contents, spec: ModelSpec, base: Checkpoint) -> str:
    """Which base an adapter's configuration names, where the suite puts it on one of another name."""
    named = adapter.config.get("base_model_name_or_path")
    if spec.base is None or not isinstance(named, str) or not named:
        return ""
    known = {base.spec.path, base.spec.repo, base.spec.recipe, base.spec.url, base.source}
    return "" if named in known else f"; its configuration names {visible(named[:LONGEST])}"


def _without_heads(file: Path, made: Checkpoint) -> str:
    """Which heads of an adapter have no place in a language model; the names in a pickle are not read."""
    if not file.name.endswith(".safetensors"):
        return ""
    heads = left_out((tensor.name for tensor in stored_tensors(file)), made.tensors)
    named = ", ".join(visible(head[:LONGEST]) for head in heads)
    return f", without its head {named}" if heads else ""


def _after(says: str, made: Checkpoint) -> str:
    """What a conversion says of itself, before those that came after it."""
    return f"{says}, {made.conversion}" if made.conversion else says
