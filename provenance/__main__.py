"""``python -m provenance``: the command, where its script is not on the path."""

from provenance.cli import main

main()
