"""Where results live: the layout of a store, and files that appear whole or not at all. Nobody else knows a path."""
