"""What studies measured of networks and trainings; RESULTS.md, "Measured once", says how. One of them still has its program."""
