"""Which route a study takes, and which model reads which of its series."""
