"""The command ``provenance``: compare models, look after suites, evidence and the store.

* In: arguments.
* Out: results on stdout, progress and errors on stderr. A user's mistake is one line and exit code 2.
* Open `_compare` first: each module beside this one holds one command, or one group of them.
"""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from provenance import ProvenanceError
from provenance.cli._sections import LazyCommands, Sections

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["cli", "main"]

EPILOG = """\b
Start here:
  provenance demo                        see a false claim found, in two minutes
  provenance compare CANDIDATE REFERENCE are these two kin?
  provenance diff CANDIDATE REFERENCE    what became of the weights of two kin?
  provenance identify MODEL REFERENCES... which of these is its nearest kin?
  provenance card MODEL                  is what its model card says so?
  provenance init MODEL...               draft a suite from what model cards claim
  provenance suite check my.suite.yaml   find the mistakes of a suite at once
  provenance plan my.suite.yaml          what will it cost?
  pytest my.suite.yaml                   test what it claims
  provenance explain NODE_ID             what did this test find, and what now?
  provenance fingerprint MODEL -o FILE   what others need to compare it, without its weights
  provenance library add FOLDER MODEL... keep small fingerprints for identify
  provenance verify evidence/            check stored evidence again
  provenance audit FOLDER                judge every pair of models in a folder, every night
  provenance doctor                      is all here that this needs?

A model is a folder, a GGUF file, a hub id (org/name, org/name@revision), a URL (s3://bucket/model) or
a recipe (quickstart/base). Exit codes: 0 done, 1 what was asked for does not hold, 2 a mistake in what
was asked, 3 not known (card), 130 interrupted. NO_COLOR is respected."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; exits 0, or 2 on a user's mistake, or 130 on Ctrl-C."""
    try:
        code = cli.main(args=arguments, prog_name="provenance", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        sys.exit(2)
    except click.ClickException as error:
        _complain(error.format_message())
    except ProvenanceError as error:
        _complain(str(error))
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except OSError as error:
        if error.errno not in UNWRITABLE or error.filename is not None:
            raise
        _drop_output()
        _complain(f"the output cannot be written: {error.strerror}")
    sys.exit(code if isinstance(code, int) else 0)


UNWRITABLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
"""Errors of a stream that takes no more: a full disk, a quota, a limit of size, a broken disk."""


def _complain(message: str) -> None:
    with suppress(OSError):  # stderr may lie on the disk that is full
        click.echo(f"provenance: {message}", err=True)
    sys.exit(2)


def _drop_output() -> None:
    """Send the rest of stdout nowhere: what is buffered would be written again at the exit."""
    with suppress(OSError, ValueError), open(os.devnull, "wb") as nowhere:  # noqa: PTH123
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


COMMANDS = {
    "attest": "_attest",
    "audit": "_audit",
    "bom": "_attest",
    "card": "_card",
    "compare": "_compare",
    "completion": "_completion",
    "decompose": "_decompose",
    "demo": "_demo",
    "diff": "_diff",
    "doctor": "_doctor",
    "explain": "_explain",
    "fingerprint": "_fingerprint",
    "graph": "_report",
    "identify": "_identify",
    "init": "_init",
    "library": "_library",
    "lock": "_lock",
    "plan": "_plan",
    "report": "_report",
    "schema": "_suite",
    "store": "_store",
    "suite": "_suite",
    "summary": "_summary",
    "verify": "_verify",
}
"""The module of each command, which is imported when the command, or a list of all, is asked for."""


@click.group(
    cls=Sections,
    commands=LazyCommands(COMMANDS),
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=EPILOG,
)
@click.version_option(package_name="pytest-provenance")
def cli() -> None:
    """Tell whether two language models share a lineage."""
