"""What all of our packages share: types of arrays, files written whole, texts of users quoted, and the commands' options."""
