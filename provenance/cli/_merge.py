"""`provenance merge`: judge what the parts of a sharded run have computed."""

from __future__ import annotations

import subprocess
import sys

import click


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def merge(arguments: tuple[str, ...]) -> int:
    """Judge the whole when all parts of a plan have been computed.

    Runs pytest with ARGUMENTS, which should be those of the parts without --provenance-shard, such as
    suites/ --provenance-store /shared/provenance. Nothing is computed: a claim whose evidence no part has
    left in the store fails, and says which parts did not end. The exit code is pytest's.
    """
    command = [sys.executable, "-m", "pytest", "--provenance-executor", "stored", *arguments]
    return subprocess.run(command, check=False).returncode  # noqa: S603 - pytest, with the user's own words
