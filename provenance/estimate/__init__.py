"""What a suite will cost, told before anything is loaded, downloaded, made or run.

* In: comparisons, and the names of their models.
* Out: `Outlook`: models and where they are, bytes, forward passes, matchings, seconds, memory.
* Open `outlook` first, then `known` (what is there), `matching` and `making`
  (what is left), `constants` (what that takes).
"""

from provenance.estimate.constants import Constants
from provenance.estimate.outlook import Outlook, foresee

__all__ = ["Constants", "Outlook", "foresee"]
