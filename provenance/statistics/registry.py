"""The one table of statistics: what each needs, what its p-value is worth, and where its function lies.

Whoever asks something of a statistic asks its row, by name. Nothing here imports torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from provenance._text import expanded
from provenance.errors import SourceError
from provenance.vocabulary import DEFAULT_STATISTIC, FINGERPRINT_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import torch
    from numpy.typing import NDArray

    from provenance.vocabulary import Disguise, InputKind, Role, StatisticName


class Located(Protocol):
    """A model that may lie at a path, of this machine."""

    @property
    def path(self) -> str | None: ...  # noqa: D102


Basis = Literal["activations", "embeddings", "functions", "weights", "models"]
"""What a statistic is computed on: activations of blocks on the suite's inputs, their answers to the
embeddings of tokens (`capture.embeddings`), the functions that MLPs compute (`capture.proxies`), weights of
blocks, or whole models (`comparison.whole_models`)."""

Null = Literal["spearman", "corrected", "permutations"]
"""Where a p-value comes from: the rank correlation of two matchings, the best of several p-values times
their number, or the rank among permuted references (PERMTEST)."""

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
    @property
    def nearness(self) -> float | None: ...  # noqa: D102
    def agreeing(self) -> int: ...  # noqa: D102
    def survivors(self) -> NDArray[np.int64]: ...  # noqa: D102

    def matchings(self, most: int) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
        """The partners of at most that many units, by either matching; None where the test has one."""

    def imitation_fits(self) -> tuple[float, float] | None:
        """How well the two MLPs were imitated, at most 1; None where the test reads them themselves."""


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


class Glimpse(Protocol):
    """Units along a few inputs, each scaled to length 1: (units, inputs) float32."""

    @property
    def gate(self) -> torch.Tensor: ...  # noqa: D102
    @property
    def up(self) -> torch.Tensor: ...  # noqa: D102


class Glimpsing(Protocol):
    """What tells cheaply which blocks are alike, of a prepared side."""

    def __call__(self, side: Any) -> Glimpse:
        """Return the side's units along a few inputs."""


class Sizing(Protocol):
    """How many units a prepared side has."""

    def __call__(self, side: Any, *, strongest: bool) -> int:
        """Return that, of all live ones or of those that do nine tenths of what the MLP does."""


@dataclass(frozen=True)
class Statistic:
    """One row: all that the package knows of a statistic besides its function.

    Attributes
    ----------
    name, summary : str
        As users write it, and a line for people.
    version : int
        Raise it whenever the same input would give another number: stored evidence of an older version
        is computed again.
    basis : str or None
        What it is computed on; None for a combination.
    parts : tuple of str
        The statistics that a combination runs, each on its own basis. Their p-values are combined by
        Bonferroni.
    null : str or None
        Where its p-value comes from; None where no permutation moves it, so that it decides no claim.
    smaller_is_nearer : bool
        Whether a smaller value says that the models are more alike.
    runs_models, gated : bool
        Whether it needs a forward pass on tokens, and whether it matches gates, which plain MLPs lack.
    on_fingerprints : bool
        Whether a fingerprint holds all that it needs of a model.
    on_hidden, on_tokens : str or None
        What is computed in its place on inputs of kind "hidden", where isotropic hidden states stand for
        the weights, and of kind "tokens". None where that is itself, or an error.
    control : str
        The disguise against which it has power, for the positive control.
    matched : tuple of str
        The two projections whose matchings it compares.
    withstands_disguise : bool
        Whether it finds a copy in every disguise that leaves the function alone and costs no training, as
        far as is known (docs/robustness.md). One that does not shows no independence. Of a combination
        its parts say it.
    """

    name: StatisticName
    version: int
    summary: str
    basis: Basis | None = None
    parts: tuple[StatisticName, ...] = ()
    null: Null | None = "spearman"
    smaller_is_nearer: bool = False
    runs_models: bool = False
    gated: bool = False
    on_fingerprints: bool = False
    on_hidden: StatisticName | None = None
    on_tokens: StatisticName | None = None
    control: Disguise = "all"
    matched: tuple[str, str] = ("gate", "up")
    withstands_disguise: bool = False

    def load(self) -> BlockTest[Any]:
        """Import the module of this name and return its test of two blocks.

        That is its function ``<name>_of_mlps``, else of this name.
        """
        test: BlockTest[Any] | None = self._find(f"{self.name}_of_mlps") or self._find(self.name)
        assert test is not None
        return test

    def load_preparation(self) -> Preparation | None:
        """The module's function ``prepare``, None where the test prepares nothing."""
        prepare: Preparation | None = self._find("prepare")
        return prepare

    def load_glimpse(self) -> Glimpsing | None:
        """The module's function ``glimpse``, None where it cannot tell which blocks are alike."""
        glimpse: Glimpsing | None = self._find("glimpse")
        return glimpse

    def load_size(self) -> Sizing | None:
        """The module's function ``size``, None where MLPs are not tested together."""
        size: Sizing | None = self._find("size")
        return size

    @property
    def reads_files(self) -> bool:
        """Whether it is cheap: computed from weight files, where nothing is loaded, run or trained."""
        return self.basis in {"embeddings", "weights"}

    def components(self) -> tuple[Statistic, ...]:
        """The statistics to run: its parts, or itself."""
        return tuple(REGISTRY[part] for part in self.parts) or (self,)

    def withstanding(self) -> tuple[Statistic, ...]:
        """The components that withstand every free disguise; without one it shows no independence."""
        return tuple(one for one in self.components() if one.withstands_disguise)

    def on(self, kind: InputKind) -> StatisticName:
        """What is computed in its place on inputs of that kind: itself, but on "hidden" and "tokens"."""
        replaced = {"hidden": self.on_hidden, "tokens": self.on_tokens}.get(kind)
        return replaced or self.name

    def versions(self) -> dict[str, int]:
        """Versions of all that runs, by name."""
        return {part.name: part.version for part in self.components()}

    def _find(self, function: str) -> Any:
        return getattr(import_module(f"{__package__}.{self.name}"), function, None)


_ROWS = (
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
        null="corrected",
    ),
    Statistic(
        "generalized",
        version=2,
        summary="match of MLPs of any kind, each imitated by a gated one (paper, Algorithm 5)",
        basis="functions",
        null="corrected",
        # what an MLP computes is written in the residual stream's own coordinates: against other ones
        # the statistic has no power, whatever the model
        control="units",
        matched=("gate", "down"),
    ),
    Statistic(
        "jsd",
        version=1,
        summary="Jensen-Shannon divergence of next-token distributions; no p-value",
        basis="models",
        null=None,
        smaller_is_nearer=True,
        runs_models=True,
    ),
    Statistic(
        "kinship",
        version=4,
        summary="match_tokens, match_weights and match, as far as needed: the default of a claim",
        parts=("match_tokens", "match_weights", "match"),
        null="corrected",
        gated=True,
        on_hidden="match_weights",
        on_tokens="match_tokens",
    ),
    Statistic(
        "l2",
        version=1,
        summary="minus the distance of all parameters, with PERMTEST",
        basis="models",
        null="permutations",
    ),
    Statistic(
        "match",
        version=6,
        summary="gate matching against up matching, on activations (paper, 2.3.1)",
        basis="activations",
        runs_models=True,
        gated=True,
        withstands_disguise=True,
        on_fingerprints=True,
        on_hidden="match_weights",
        on_tokens="match_tokens",
    ),
    Statistic(
        "match_cosine",
        version=3,
        summary="match by the paper's cosine, each unit's mean left in",
        basis="activations",
        runs_models=True,
        gated=True,
        on_hidden="match_weights",
    ),
    Statistic(
        "match_tokens",
        version=4,
        summary="gate matching against up matching, on embeddings of shared tokens; no forward pass",
        basis="embeddings",
        gated=True,
        withstands_disguise=True,
    ),
    Statistic(
        "match_weights",
        version=3,
        summary="gate matching against up matching, on weight rows; no forward pass",
        basis="weights",
        gated=True,
    ),
    Statistic(
        "mode_connectivity",
        version=1,
        summary="loss at the midpoint between the models, with PERMTEST",
        basis="models",
        null="permutations",
        runs_models=True,
    ),
)

REGISTRY: Mapping[str, Statistic] = MappingProxyType({row.name: row for row in _ROWS})

PAIR_STATISTICS = frozenset(row.name for row in _ROWS if row.basis == "models")
"""Statistics of two whole models; the others are of two blocks."""
DISTANCES = frozenset(row.name for row in _ROWS if row.null == "permutations")
"""Statistics without a null distribution of their own: PERMTEST gives them a p-value."""
WITHOUT_P = frozenset(row.name for row in _ROWS if row.null is None)
"""Statistics that have no p-value, and decide no claim."""
BUNDLED = frozenset(row.name for row in _ROWS if row.on_fingerprints)
"""Statistics that need no more of a model than its fingerprint holds."""
FINGERPRINT_STATISTIC = next(row.name for row in _ROWS if row.on_fingerprints)
"""What is computed where a side is a fingerprint of activations and no statistic is named."""
WITHSTANDING = tuple(row.name for row in _ROWS if row.withstanding())
"""Statistics that can show independence: no free disguise is known that defeats them."""
UNIFORM = frozenset(
    row.name for row in _ROWS if all(part.null == "spearman" for part in row.components())
)
"""Statistics whose p-values of single blocks, or those of their parts, are uniform under the null."""


def default_statistic(candidate: Located, reference: Located) -> StatisticName:
    """The statistic of a pair that names none.

    That is `DEFAULT_STATISTIC`, or what the fingerprint carries where a side is one, which is told by the
    suffix of its path. Of a file that cannot be read it is `FINGERPRINT_STATISTIC`.
    """
    paths = (candidate.path or "", reference.path or "")
    fingerprints = [path for path in paths if path.endswith(FINGERPRINT_SUFFIX)]
    if not fingerprints:
        return DEFAULT_STATISTIC
    return "match_tokens" if any(map(_holds_tokens, fingerprints)) else FINGERPRINT_STATISTIC


def _holds_tokens(path: str) -> bool:
    from provenance.checkpoints.token_fingerprint_file import holds_tokens

    try:
        return holds_tokens(Path(expanded(path)))
    except (SourceError, OSError):  # whoever opens it says what is wrong
        return False
