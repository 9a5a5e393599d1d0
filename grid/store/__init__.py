"""Where results live, and which of them count. Nobody else knows a path of it, or what a file looks like.

`Store` opens a location and has its parts: grids, cells, trainings (unfinished), prepared, shards, failures, runs.
Under them are layout (ids to paths and back), files (whole files, atomically), parquet and records (what is in them).
"""
