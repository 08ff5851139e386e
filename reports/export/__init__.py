"""A program's prompt for use elsewhere: one format a file, all made from what the adapter sends."""
