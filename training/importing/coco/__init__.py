"""COCO's form, in which all exports are read: its documents, files and run lengths."""
