"""A problem with its draws: what each component contributes in them, their DataTree, draws from the prior.

Uses `algebra` and `terms`.
"""
