"""`make demo`: a real brain through the whole chain."""
