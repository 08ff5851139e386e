"""The command line: reads arguments, calls one function of `commands/`, prints."""
