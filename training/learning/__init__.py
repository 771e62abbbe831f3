"""Trains a network by a recipe on a data set."""
