"""Programs that measure: `fcn-bench`, and those that make `docs/models.md` and `docs/accuracy.md`."""
