"""What the draws say: budget, gap, laboratories, predictions, what a design can separate, what to measure next.

Uses `posterior` and `algebra`, never engines; results do not know their figures.
"""
