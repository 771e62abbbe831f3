"""The benches of `fcn-bench`, one a file."""
