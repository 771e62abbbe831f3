"""`python -m benchmarks.commits`: compares two commits by what users see."""
