"""Draws the objects of documents of COCO's form as masks of class ids."""
