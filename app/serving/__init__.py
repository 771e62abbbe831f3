"""What does the work and knows no HTTP: the service's state, models by name, admission, the tile scheduler."""
