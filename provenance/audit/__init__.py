"""Judges every pair of a registry of models, night after night, and says what changed.

::

    registry.yaml, or a folder --load_registry--> Registry
    Registry + Executor + History --audit_registry--> Audit: pairs, changes since the last complete run

Open `run` first, then `registry` and `history`. Evidence is kept in a history by what it depends on, so
that only new or changed weights cost anything. Nothing here needs torch until a pair must be measured.
"""

from provenance.audit.history import History, HistoryError
from provenance.audit.records import (
    CHANGE_KINDS,
    Audit,
    AuditedModel,
    AuditedPair,
    Change,
    ScreenedBlock,
)
from provenance.audit.registry import Registry, load_registry
from provenance.audit.report import audit_results
from provenance.audit.run import Outlook, audit_registry, foresee

__all__ = [
    "CHANGE_KINDS",
    "Audit",
    "AuditedModel",
    "AuditedPair",
    "Change",
    "History",
    "HistoryError",
    "Outlook",
    "Registry",
    "ScreenedBlock",
    "audit_registry",
    "audit_results",
    "foresee",
    "load_registry",
]
