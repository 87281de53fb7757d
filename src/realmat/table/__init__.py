"""A user's table on its way in: what a model needs of it, its validation, levels, cells, units.

Uses `support` alone.
"""
