"""What stands beside trained weights: model cards, exports, folders for the Hub, and recorded scores."""
