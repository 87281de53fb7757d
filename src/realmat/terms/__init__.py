"""What components are written with: priors, terms, latent states and their readings, effects, and the problem they make of a table.

Uses `table` and `support`. Engines and attribution see terms only, never components. What a component of one's own needs of terms
hangs here; the rest lies in `component`, `state`, `readings`, `effect` and `priors`.
"""

from realmat.terms.term import (
    LAYERS,
    Coefficients,
    Contribution,
    Fresh,
    Function,
    Known,
    Noise,
    Param,
    Piece,
    Rows,
    Term,
    Values,
    degrees,
    evaluate,
    measured,
    stored_name,
)

__all__ = [
    "LAYERS",
    "Coefficients",
    "Contribution",
    "Fresh",
    "Function",
    "Known",
    "Noise",
    "Param",
    "Piece",
    "Rows",
    "Term",
    "Values",
    "degrees",
    "evaluate",
    "measured",
    "stored_name",
]
