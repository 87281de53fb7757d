"""Whether to believe it: groups left out, scores, diagnostics, comparison of models.

Uses `attribution` and `posterior`, never engines.
"""
