"""MXNet's .params."""
