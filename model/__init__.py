"""Networks, tiling, predictor, weights files, label sets and metrics of the segmentation service."""
