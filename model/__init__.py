"""Networks, inference, weights files, label sets and metrics of the segmentation service."""
