"""What the benches share: images, load, servers, results."""
