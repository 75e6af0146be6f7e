"""The formats of a report, and the file or folder that each is written to."""

FORMATS = {"md": "report.md", "html": "report.html", "tex": "report.tex", "csv": "tables", "json": "report.json"}
