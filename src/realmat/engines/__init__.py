"""Engines turn a problem into draws: `exact` explores psi with b integrated out, `nuts` samples a PyMC model.

They see terms, never components. Uses `posterior` (the draws they return), `algebra` and `terms`.
"""
