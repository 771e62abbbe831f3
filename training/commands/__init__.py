"""The commands: `fcn-check`, `fcn-train`, `fcn-evaluate`, `fcn-export` and `fcn-import`."""
