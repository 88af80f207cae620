"""The interface for Python programs: functions that do what the commands do, with the same words."""
