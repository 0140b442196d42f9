"""What `make demo` segments: a real brain that comes with a package, so the demo needs no data folder."""
