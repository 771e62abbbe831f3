"""The commands: `fcn-train`, `fcn-evaluate`, `fcn-export`, and the import of COCO's JSON."""
