"""What every floor may use: notices, threads, intervals, how results are shown, methods attached from above.

Uses `errors` alone.
"""
