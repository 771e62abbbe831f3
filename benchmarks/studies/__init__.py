"""What studies measured of networks and trainings; `benchmarks/results/history.md` says how. One has its program here."""
