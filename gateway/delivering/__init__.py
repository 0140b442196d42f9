"""Results on their way out, each destination by itself; commitments, messages, and what local copies may go."""
