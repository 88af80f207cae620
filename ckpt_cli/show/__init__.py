"""How answers look: tables and trees on a terminal, tab-separated records in a pipe, JSON with --json."""
