"""Cards: short pages in Markdown on what a table holds, and on what a router trained on it can do."""
