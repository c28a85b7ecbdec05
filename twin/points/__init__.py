"""Point types, quality, point maps, samples and commands."""
