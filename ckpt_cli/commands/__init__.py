"""The commands, a file each. A command parses its line, calls the rooms below, and shows the answer."""
