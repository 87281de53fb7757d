"""What the draws say: budget, gap, laboratories, predictions, what a design can separate, what to measure next.

Uses `posterior`, never engines.
"""
