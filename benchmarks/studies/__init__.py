"""Programs that measure networks and trainings and make `docs/models.md` and `docs/accuracy.md`."""
