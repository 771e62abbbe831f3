"""The same `Segmenter` held by other serving frameworks, to measure our service against: see README.md."""
