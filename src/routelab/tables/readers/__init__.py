"""One reader per source: checked local files in, a tidy frame out."""
