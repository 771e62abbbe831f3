"""Code that the benches share: images, load, servers, results."""
