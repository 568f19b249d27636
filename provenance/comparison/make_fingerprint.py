"""Makes a fingerprint bundle of a model: what others need to compare it, without its weights."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from provenance._text import visible, without_home
from provenance._threads import in_turn
from provenance.checkpoints.fingerprint_file import (
    KEY,
    MATRIX_LIMIT,
    TEXT_LIMIT,
    BundledInputs,
    Fingerprint,
    read_fingerprint,
)
from provenance.comparison.executor import Executor, as_spec
from provenance.comparison.plan import WITHOUT_RUN
from provenance.comparison.records import versions
from provenance.errors import BundleError
from provenance.inputs import corpus
from provenance.vocabulary import FINGERPRINT_SUFFIX, SKETCH, InputsSpec, Stage

if TYPE_CHECKING:
    from os import PathLike

    from provenance.checkpoints.checkpoint import Checkpoint
    from provenance.inputs.tokens import Inputs
    from provenance.vocabulary import ModelSpec

LEAST_SKETCH = 8


@in_turn
def fingerprint(
    model: str | PathLike[str] | ModelSpec,
    file: str | PathLike[str],
    *,
    inputs: InputsSpec | None = None,
    vocabulary: int | None = None,
    sketch: int | None = SKETCH,
    name: str | None = None,
    executor: Executor | None = None,
) -> Fingerprint:
    """Write the fingerprint of a model, which `compare` takes in the model's place.

    Parameters
    ----------
    model : str, path or ModelSpec
        As for `compare`.
    file : str or path
        Where to write; its name ends in ``.safetensors``.
    inputs : InputsSpec, optional
        What the model is fed, text or random ids; 4096 tokens of the standard library's sources by
        default. Whoever compares must be able to feed the same.
    vocabulary : int, optional
        Of random ids, the bound: two models that have different vocabularies are fed the same ids below
        the smaller one. The model's own by default.
    sketch : int or None
        How many numbers are kept of a unit and projection; None keeps the whole answers, one a token.
    name : str, optional
        What the bundle calls the model; its source by default.
    executor : Executor, optional
        Where and with which store to run; all defaults otherwise.

    Returns
    -------
    Fingerprint
        What the bundle says.

    Raises
    ------
    ProvenanceError
        One line: what was wrong, and what to do.

    Examples
    --------
    >>> made = fingerprint("quickstart/base", "base.safetensors")  # doctest: +SKIP
    >>> compare("quickstart/finetuned", "base.safetensors").log10_p < -100  # doctest: +SKIP
    True
    """
    spec = inputs or InputsSpec()
    path = Path(file)
    _require_possible(path, spec, vocabulary, sketch, name)
    run = executor or Executor()
    checkpoint = opened(model, run)
    if vocabulary is not None and (checkpoint.vocabulary or 0) < vocabulary:
        raise BundleError(
            f"{checkpoint.source} has {checkpoint.vocabulary} token ids, fewer than {vocabulary}: give a "
            "--vocabulary of at most that"
        )
    fed = run.work.encoded.for_one(spec, checkpoint, vocabulary=vocabulary)
    _write(run, checkpoint, fed, path, vocabulary or checkpoint.vocabulary, sketch, name)
    return read_fingerprint(path)


def _require_possible(
    file: Path, inputs: InputsSpec, vocabulary: int | None, sketch: int | None, name: str | None
) -> None:
    """Raise BundleError where no model could be made into this fingerprint."""
    require_place(file)
    require_name(name)
    if inputs.kind in WITHOUT_RUN:
        raise BundleError(
            "a fingerprint is of what a model answers: give text or random ids as inputs"
        )
    if vocabulary is not None and (inputs.kind != "random" or vocabulary < 2):
        raise BundleError(
            "a vocabulary is a bound of random ids, at least 2: give --inputs random too"
        )
    if sketch is not None and not LEAST_SKETCH <= sketch <= inputs.tokens:
        raise BundleError(
            f"a sketch of {sketch} numbers: give {LEAST_SKETCH} to {inputs.tokens}, the number of tokens"
        )
    if (sketch or 0) * inputs.tokens > MATRIX_LIMIT:
        raise BundleError(
            f"a sketch of {sketch} numbers of {inputs.tokens} tokens is too large: give fewer of either"
        )


def opened(model: str | PathLike[str] | ModelSpec, run: Executor) -> Checkpoint:
    """Open what a fingerprint is made of; BundleError of another fingerprint."""
    checkpoint = run.checkpoint(as_spec(model))
    if checkpoint.bundle is not None:
        raise BundleError(f"{checkpoint.source} is a fingerprint already: give the model")
    return checkpoint


def require_place(file: Path) -> None:
    """Raise BundleError where no fingerprint can be written."""
    if file.suffix != FINGERPRINT_SUFFIX:
        raise BundleError(f"{file}: a fingerprint's name ends in {FINGERPRINT_SUFFIX}")
    if not file.parent.is_dir():
        raise BundleError(f"{file} cannot be written: there is no folder {file.parent}")


def require_name(name: str | None) -> None:
    """Raise BundleError where a fingerprint cannot call its model that."""
    if name is not None and not 0 < len(visible(name)) <= TEXT_LIMIT:
        raise BundleError(f"a name has 1 to {TEXT_LIMIT} characters")


def _write(
    run: Executor,
    checkpoint: Checkpoint,
    fed: Inputs,
    file: Path,
    vocabulary: int | None,
    sketch: int | None,
    name: str | None,
) -> None:
    from provenance.capture.units import ActivationUnits
    from provenance.comparison.fingerprints import serves, sketch_units, write_bundle
    from provenance.loading.parameters import ModelTensors
    from provenance.statistics._sketch import Sketcher

    work = run.work
    entry = work.activations(checkpoint, fed, gated=True)
    sketcher = Sketcher(fed.digest, len(fed.ids), sketch)
    with work.leased() as device:
        units = ActivationUnits(entry.path, ModelTensors(checkpoint), device)
        mlps, tensors = sketch_units(
            units, sketcher, lambda i, n: work.tell(Stage("sketch", checkpoint.source, i, n))
        )
    shape = units.shape
    made = Fingerprint(
        source=visible(name or without_home(checkpoint.source))[:TEXT_LIMIT],
        digest=checkpoint.digest,
        weights_digest=checkpoint.weights_digest,
        architecture=shape.architecture,
        blocks=shape.blocks,
        parameters=checkpoint.parameters,
        dtype=shape.dtype,
        hidden=max(record.hidden for record in units.trace.mlps),
        mlps=mlps,
        inputs=_inputs(fed, vocabulary),
        sketch=sketch,
        serves=serves(),
        versions=versions(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        skipped={str(index): what for index, what in shape.skipped.items()},
        conversion=checkpoint.conversion,
    )
    write_bundle(file, {KEY: made.to_json()}, tensors)


def _inputs(fed: Inputs, vocabulary: int | None) -> BundledInputs:
    from provenance.inputs.tokens import text_digest

    spec = fed.spec
    is_text = spec.kind == "text"
    own = spec.text not in corpus.NAMED
    return BundledInputs(
        kind="text" if is_text else "random",
        tokens=len(fed.ids),
        sequence_length=spec.sequence_length,
        seed=spec.seed,
        digest=fed.digest,
        text=(Path(spec.text).name if own else spec.text) if is_text else None,
        text_digest=text_digest(spec) if is_text else None,
        vocabulary=None if is_text else vocabulary,
        note=fed.note,
    )
