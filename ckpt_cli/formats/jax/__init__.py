"""Formats of JAX's libraries: Flax msgpack and Orbax."""
