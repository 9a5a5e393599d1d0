"""One training per file; the file's name is the component's name."""
