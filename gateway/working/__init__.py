"""Jobs, one at a time in each worker process: read, give to models, segment, and leave the results to be delivered."""
