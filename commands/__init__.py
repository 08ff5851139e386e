"""What the commands do: settings in, programs and files out. `cli/` only reads arguments and prints."""
