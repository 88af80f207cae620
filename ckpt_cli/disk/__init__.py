"""The disk: files are written all or nothing, and an edit that was interrupted is undone before its file is read."""
