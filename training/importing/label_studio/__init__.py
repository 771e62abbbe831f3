"""Reads Label Studio's JSON as a document of COCO's form."""
