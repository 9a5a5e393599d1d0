"""Toy components, each of which breaks one promise of its kind, and one of each kind that keeps them all."""
