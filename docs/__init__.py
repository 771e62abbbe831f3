"""Programs that write parts of the pages, and draw their pictures."""
