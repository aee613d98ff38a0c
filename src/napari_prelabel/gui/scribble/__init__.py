"""The scribble tool."""
