"""What is written about weights and trainings: model cards, charts, curves, facts in files."""
