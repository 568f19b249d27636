"""The MLPs that a model is compared by, or one line that says why it has none.

`provenance.architecture.trace` finds them in the data that flows through one pass, not by their names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from provenance.architecture.trace import trace
from provenance.errors import ArchitectureError

if TYPE_CHECKING:
    from torch import nn

    from provenance.architecture.records import Trace


def find_mlps(model: nn.Module) -> Trace:
    """Find the MLPs of every block of a decoder: gated or plain, fused or separate, and experts.

    Parameters
    ----------
    model : torch.nn.Module
        Takes ``input_ids``; on any device, the meta device too; left as it was.

    Raises
    ------
    ArchitectureError
        If no block has an MLP, or the model does not run on token ids alone.
    """
    return with_mlps(trace(model))


def with_mlps(trace: Trace, *, gated: bool = False) -> Trace:
    """Return a trace unchanged, or refuse one whose MLPs cannot be compared.

    Parameters
    ----------
    gated : bool
        Whether the MLPs must have a gate.

    Raises
    ------
    ArchitectureError
        If no block has an MLP, or a gate where one must be; the message names what there is.
    """
    if not trace.mlps:
        reasons = "; ".join(dict.fromkeys(trace.without().values())) or "it has no list of blocks"
        raise ArchitectureError(
            f"{trace.architecture}: no block has an MLP that can be compared ({reasons}): "
            "use a statistic of whole models, csu_all or jsd"
        )
    if gated and not any(record.kind == "gated" for record in trace.mlps):
        raise ArchitectureError(
            f"{trace.architecture}: its MLPs are plain, and `match` compares what a gate and an up say "
            "(csu and csh need no gate): use `statistic: generalized`"
        )
    return trace
