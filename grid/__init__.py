"""Orchestration: a YAML spec becomes a plan, the plan becomes shards in a store, the shards become tables."""

__version__ = "0.1.0"
