"""What several test files share: files, pictures, servers, stand-ins. Folders mirror those of the tests."""
