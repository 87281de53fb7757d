"""Figures that a paper would print. Each function takes a result and gives a matplotlib Figure."""
