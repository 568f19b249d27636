"""The statistics, one a file, and the registry that finds them by name.

Importing this package imports no torch: a `Statistic` loads its module when it is first computed.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import torch
    from numpy.typing import NDArray

Basis = Literal["activations", "functions", "weights", "models"]
"""What a statistic is computed on: activations of blocks on the suite's inputs, the functions that MLPs
compute (`capture.proxies`), weights of blocks, or whole models (`comparison.whole_models`)."""

Role = Literal["candidate", "reference"]

Given_contra = TypeVar("Given_contra", contravariant=True)
"""What a test is given of a block: `MLPActivations`, or a `Proxy`."""


class BlockResult(Protocol):
    """What every test of one block against another answers; see `MatchResult` for the meanings."""

    @property
    def log10_p(self) -> float: ...  # noqa: D102
    @property
    def correlation(self) -> float: ...  # noqa: D102
    @property
    def live(self) -> int | tuple[int, int]: ...  # noqa: D102
    def agreeing(self) -> int: ...  # noqa: D102
    def survivors(self) -> NDArray[np.int64]: ...  # noqa: D102


class BlockTest(Protocol[Given_contra]):
    """A test of one block of the candidate against one block of the reference.

    Its arguments are what its basis gives of a block, or what the statistic's `Preparation` has made
    of that.
    """

    def __call__(
        self, candidate: Given_contra, reference: Given_contra, *, seed: int = 0
    ) -> BlockResult:
        """Return the result, or raise `DegenerateError` where no test is defined."""


class Preparation(Protocol):
    """What a test does to one side alone, so that a side which meets many others is prepared once."""

    def __call__(self, side: Any, role: Role, seed: int) -> Any:
        """Return what the test takes in place of the side."""


class Signature(Protocol):
    """A few numbers of a prepared side that an MLP and its descendant have alike."""

    def __call__(self, side: Any, seed: int) -> torch.Tensor:
        """Return them, float32 of one axis."""


@dataclass(frozen=True)
class Statistic:
    """One entry of the registry.

    ``version`` is raised whenever the same input would give another number: stored evidence of an
    older version is computed again. ``parts`` names the statistics that a combined one runs, each on
    its own basis; their p-values are combined by Bonferroni. ``gated`` says that it matches gates, and
    so is not defined on plain MLPs.
    """

    name: str
    version: int
    summary: str
    basis: Basis | None = None
    parts: tuple[str, ...] = ()
    runs_models: bool = False
    gated: bool = False

    def load(self) -> BlockTest[Any]:
        """Import the module of this name and return its test of two blocks.

        That is its function ``<name>_of_mlps``, else of this name.
        """
        module = import_module(f"{__name__}.{self.name}")
        test: BlockTest[Any] = getattr(module, f"{self.name}_of_mlps", None) or getattr(
            module, self.name
        )
        return test

    def load_preparation(self) -> Preparation | None:
        """The module's function ``prepare``, None where the test prepares nothing."""
        return getattr(import_module(f"{__name__}.{self.name}"), "prepare", None)

    def load_signature(self) -> Signature | None:
        """The module's function ``signature``, None where all pairs of MLPs must be tested."""
        return getattr(import_module(f"{__name__}.{self.name}"), "signature", None)

    def components(self) -> tuple[Statistic, ...]:
        """The statistics to run: its parts, or itself."""
        return tuple(REGISTRY[part] for part in self.parts) or (self,)

    def versions(self) -> dict[str, int]:
        """Versions of all that runs, by name."""
        return {part.name: part.version for part in self.components()}


_ALL = (
    Statistic(
        "csh",
        version=1,
        summary="up activations matched against the identity (paper, 2.2.2)",
        basis="activations",
        runs_models=True,
    ),
    Statistic(
        "csu",
        version=1,
        summary="up weights matched against the identity (paper, 2.2.2); no forward pass",
        basis="weights",
    ),
    Statistic(
        "csu_all",
        version=1,
        summary="csu over every parameter of equal name and shape, by Bonferroni",
        basis="models",
    ),
    Statistic(
        "generalized",
        version=1,
        summary="match of MLPs of any kind, each imitated by a gated one (paper, Algorithm 5)",
        basis="functions",
    ),
    Statistic(
        "jsd",
        version=1,
        summary="Jensen-Shannon divergence of next-token distributions; no p-value",
        basis="models",
        runs_models=True,
    ),
    Statistic(
        "kinship",
        version=1,
        summary="match and match_weights, combined: the default of a claim",
        parts=("match", "match_weights"),
        gated=True,
    ),
    Statistic(
        "l2",
        version=1,
        summary="minus the distance of all parameters, with PERMTEST",
        basis="models",
    ),
    Statistic(
        "match",
        version=3,
        summary="gate matching against up matching, on activations (paper, 2.3.1)",
        basis="activations",
        runs_models=True,
        gated=True,
    ),
    Statistic(
        "match_cosine",
        version=2,
        summary="match by the paper's cosine, each unit's mean left in",
        basis="activations",
        runs_models=True,
        gated=True,
    ),
    Statistic(
        "match_weights",
        version=2,
        summary="gate matching against up matching, on weight rows; no forward pass",
        basis="weights",
        gated=True,
    ),
    Statistic(
        "mode_connectivity",
        version=1,
        summary="loss at the midpoint between the models, with PERMTEST",
        basis="models",
        runs_models=True,
    ),
)

REGISTRY: Mapping[str, Statistic] = MappingProxyType({entry.name: entry for entry in _ALL})
