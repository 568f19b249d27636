"""Makes a token fingerprint of a model: a few megabytes, from its weight files alone."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from provenance._text import visible, without_home
from provenance._threads import in_turn
from provenance.checkpoints.fingerprint_file import TEXT_LIMIT
from provenance.checkpoints.token_fingerprint_file import (
    KEY,
    TokenFingerprint,
    read_token_fingerprint,
)
from provenance.comparison.executor import Executor
from provenance.comparison.make_fingerprint import opened, require_name, require_place
from provenance.comparison.records import versions
from provenance.inputs.listed_tokens import list_digest
from provenance.vocabulary import TOKEN_FINGERPRINT_SIZE, Stage

if TYPE_CHECKING:
    from os import PathLike

    from provenance.checkpoints.checkpoint import Checkpoint
    from provenance.vocabulary import ModelSpec


@in_turn
def fingerprint_tokens(
    model: str | PathLike[str] | ModelSpec,
    file: str | PathLike[str],
    *,
    size: int = TOKEN_FINGERPRINT_SIZE,
    name: str | None = None,
    executor: Executor | None = None,
) -> TokenFingerprint:
    """Write what units of a model answer to a published list of tokens; no model is run.

    Parameters
    ----------
    model : str, path or ModelSpec
        As for `provenance.compare`; it has a tokenizer, and MLPs with gates.
    file : str or path
        Where to write; its name ends in ``.safetensors``.
    size : int
        Bytes that the file has at the most. A larger one holds more units of each MLP.
    name : str, optional
        What the fingerprint calls the model; its source by default.
    executor : Executor, optional
        Where and with which store to run; all defaults otherwise.

    Returns
    -------
    TokenFingerprint
        What the file says.

    Raises
    ------
    ProvenanceError
        One line: what was wrong, and what to do.

    Examples
    --------
    >>> made = fingerprint_tokens("quickstart/base", "base.safetensors")  # doctest: +SKIP
    >>> compare("quickstart/finetuned", "base.safetensors").log10_p < -100  # doctest: +SKIP
    True
    """
    path = Path(file)
    require_place(path)
    require_name(name)
    run = executor or Executor()
    checkpoint = opened(model, run)
    _write(run, checkpoint, path, size, name)
    return read_token_fingerprint(path)


def _write(run: Executor, checkpoint: Checkpoint, file: Path, size: int, name: str | None) -> None:
    from provenance.comparison.fingerprints import write_bundle
    from provenance.comparison.token_fingerprints import Asked, hold, serves

    asked = Asked.of(checkpoint, run.work)
    places = sorted(asked.ids)
    with run.work.leased() as device:
        units = asked.units(places, device)
        held = hold(
            units,
            len(places),
            size,
            lambda i, n: run.work.tell(Stage("sketch", checkpoint.source, i, n)),
        )
    shape = units.shape
    made = TokenFingerprint(
        source=visible(name or without_home(checkpoint.source))[:TEXT_LIMIT],
        digest=checkpoint.digest,
        weights_digest=checkpoint.weights_digest,
        architecture=shape.architecture,
        blocks=shape.blocks,
        parameters=checkpoint.parameters,
        dtype=shape.dtype,
        hidden=max(record.hidden for record in asked.layout.trace.mlps),
        mlps=held.mlps,
        listed=list_digest(),
        tokens=tuple(places),
        serves=serves(),
        versions=versions(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        skipped=held.skipped,
        conversion=checkpoint.conversion,
    )
    write_bundle(file, {KEY: made.to_json()}, held.tensors)
