"""The table of a comparison: its columns, rows, notes and verdicts."""
