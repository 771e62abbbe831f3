"""Bulk jobs on a Ray cluster: `fcn-bulk`. Only this folder imports ray."""
