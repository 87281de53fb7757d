"""What every floor may use: notices, threads, intervals, how results are shown, Pareto tails. Uses `errors` alone."""
