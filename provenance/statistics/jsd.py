"""`jsd`: Jensen-Shannon divergence of two models' next-token distributions (paper, phi_JSD).

In nats per token, from 0 (equal) to ln 2 (no token in common). It has no p-value: permutations that leave
the model's function alone leave it alone, so a permutation test has nothing to compare with. In the paper
it does not separate dependent from independent pairs (log JSD -10.62 and -10.24 against -11.10 .. -8.38):
it says how alike two models *speak*, which distillation and shared data bring about as well.

What defeats it, as a sign of kinship: whatever changes what a model says, a long fine-tune above all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from provenance.errors import DegenerateError

__all__ = ["JSDResult", "JensenShannon"]

_CHUNK = 1 << 22  # logits that are held in float64 at a time


@dataclass(frozen=True)
class JSDResult:
    """How differently two models continue the same text.

    Attributes
    ----------
    statistic : str
        "jsd".
    value : float
        Mean over tokens of the divergence in nats, 0 to ln 2; *smaller* is more alike.
    tokens : int
        Positions in the mean.
    vocabularies : tuple of int
        Sizes of the candidate's and of the reference's vocabulary.
    compared : int
        Ids that were compared one by one: the first ``min(vocabularies)``. The mass a model puts on ids
        beyond them is one outcome more.
    """

    statistic: str
    value: float
    tokens: int
    vocabularies: tuple[int, int]
    compared: int


class JensenShannon:
    r"""A running mean of the divergence over batches of logits.

    Notes
    -----
    Of each token :math:`\frac12 KL(p, m) + \frac12 KL(q, m)` with :math:`m = (p + q)/2`, from log-softmax
    in float64 [1]_.

    With vocabularies of two sizes the ids that both have are compared, which supposes that one id means one
    token in both; the probability of all other ids is one outcome more. Merging outcomes can only lessen
    the divergence, so the value is then a lower bound.

    There is no null hypothesis and no p-value.

    References
    ----------
    .. [1] Zhu, Ahmed, Kuditipudi, Liang. Independence Tests for Language Models. ICML 2025,
       arXiv:2502.12292, section 2.2.

    Examples
    --------
    >>> running = JensenShannon()
    >>> for seed in range(2):
    ...     logits = torch.randn(4, 10, generator=torch.Generator().manual_seed(seed))
    ...     running.update(logits, logits)
    >>> running.result().value < 1e-15
    True
    """

    def __init__(self) -> None:
        self._total = 0.0
        self._tokens = 0
        self._vocabularies: tuple[int, int] | None = None

    def update(self, candidate_logits: torch.Tensor, reference_logits: torch.Tensor) -> None:
        """Add a batch of positions.

        Parameters
        ----------
        candidate_logits, reference_logits : Tensor
            (tokens, vocabulary) on the same tokens, any floating dtype. ``-inf`` rules a token out.

        Raises
        ------
        DegenerateError
            If a row is not the logits of a distribution: it holds NaN or inf, or rules out all tokens.
        ValueError
            If shapes do not fit each other, or the vocabularies those of earlier batches.
        """
        vocabularies = _vocabularies(candidate_logits, reference_logits)
        if self._vocabularies not in {None, vocabularies}:
            raise ValueError(
                f"vocabularies of {vocabularies} tokens after batches of {self._vocabularies}"
            )
        rows = max(1, _CHUNK // max(vocabularies))
        total = math.fsum(
            _divergence(p, q)
            for p, q in zip(
                torch.split(candidate_logits, rows),
                torch.split(reference_logits, rows),
                strict=True,
            )
        )
        self._vocabularies = vocabularies
        self._total += total
        self._tokens += len(candidate_logits)

    def result(self) -> JSDResult:
        """Return the mean so far.

        Raises
        ------
        DegenerateError
            If there was no token.
        """
        if self._vocabularies is None or not self._tokens:
            raise DegenerateError("no token was given, so there is no divergence per token")
        value = min(self._total / self._tokens, math.log(2))
        return JSDResult("jsd", value, self._tokens, self._vocabularies, min(self._vocabularies))


def _vocabularies(candidate: torch.Tensor, reference: torch.Tensor) -> tuple[int, int]:
    shapes = tuple(candidate.shape), tuple(reference.shape)
    if any(len(shape) != 2 or not shape[1] for shape in shapes) or shapes[0][0] != shapes[1][0]:
        raise ValueError(
            f"logits have shapes {shapes[0]} and {shapes[1]}; they must be (tokens, vocabulary) "
            "on the same tokens"
        )
    return shapes[0][1], shapes[1][1]


def _divergence(candidate: torch.Tensor, reference: torch.Tensor) -> float:
    """Return the divergence in nats, summed over the rows."""
    shared = min(candidate.shape[1], reference.shape[1])
    merge = candidate.shape[1] != reference.shape[1]
    log_p = _log_probabilities("candidate", candidate, shared, merge=merge)
    log_q = _log_probabilities("reference", reference.to(candidate.device), shared, merge=merge)
    log_m = torch.logaddexp(log_p, log_q) - math.log(2)
    per_token = (_relative_entropy(log_p, log_m) + _relative_entropy(log_q, log_m)) / 2
    return float(per_token.clamp(0.0, math.log(2)).sum())


def _relative_entropy(log_p: torch.Tensor, log_m: torch.Tensor) -> torch.Tensor:
    """Return the sum of p (log p - log m) over the last axis, 0 where p is 0."""
    terms = log_p.exp() * (log_p - log_m)
    entropy: torch.Tensor = torch.where(log_p.isneginf(), 0.0, terms).sum(dim=-1)
    return entropy


def _log_probabilities(
    role: str, logits: torch.Tensor, shared: int, *, merge: bool
) -> torch.Tensor:
    """Return log-probabilities of the shared ids and, if asked, of all others together; float64."""
    log_p = logits.detach().double().log_softmax(dim=-1)
    if bool(log_p.isnan().any()):
        raise DegenerateError(
            f"the {role}'s logits hold NaN or infinity, or rule out every token of a row"
        )
    if not merge:
        return log_p
    rest = log_p[:, shared:].logsumexp(dim=-1, keepdim=True)  # -inf where there are none
    return torch.cat([log_p[:, :shared], rest], dim=-1)
