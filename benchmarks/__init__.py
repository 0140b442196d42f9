"""`swinunet benchmark`: latency, throughput and memory of every engine in one report."""
