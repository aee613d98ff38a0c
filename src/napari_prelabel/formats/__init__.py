"""Label maps as files: a table of formats, each a pair of read and write."""
