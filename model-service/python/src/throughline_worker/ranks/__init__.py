"""Distributed training: one process per rank, on JAX. The Rust trainer makes the plan."""
