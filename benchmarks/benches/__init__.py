"""The benches of `fcn-bench`, one in each file."""
