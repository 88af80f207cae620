"""Commands: one file each. Parse, call, show."""
