"""Figures that a paper would print: each function takes a result and gives a matplotlib Figure.

A figure is attached to the type of its result (`realmat.support.attached`), so that ``result.plot()`` finds it here. Uses everything
below; results never import it.
"""

from realmat.plots import budget, effect, gap, laboratory, plans, relevance, round_robin, theories

__all__ = ["budget", "effect", "gap", "laboratory", "plans", "relevance", "round_robin", "theories"]
