"""What is shown: sections, tables and figures of a report in each format. Pure: no torch, no store."""
