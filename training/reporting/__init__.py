"""Reports about weights and trainings: model cards, charts, curves, and facts in weights files."""
