"""Curves of trainings, charts, lines of Markdown, and the machine of a measurement."""
