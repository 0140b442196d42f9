"""What every folder stands on: exceptions, files written whole or not at all, progress, paths; it imports no other."""
