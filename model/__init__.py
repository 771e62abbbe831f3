"""Networks, inference, weights files and label sets of the segmentation service."""
