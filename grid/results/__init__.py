"""Questions to a store, in SQL, and their answers as text. Writes nothing."""
