"""The formats of a report, and the file or folder that each is written to."""

FORMATS = {
    "md": "report.md",
    "html": "report.html",
    "tex": "report.tex",  # at most four pages in two columns; beside it report_long.tex has everything
    "csv": "tables",
    "json": "report.json",
    "png": "card.png",  # one picture for talks
    "svg": "figures",  # at a column's width, and in figures/slides at a slide's; …
    "pdf": "figures",  # … and as PDF
}
LONG = "report_long.tex"
