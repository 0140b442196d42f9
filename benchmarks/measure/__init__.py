"""What every benchmark measures with.

rounds        the runner: things loaded once, then measured in turn, round after round
measurements  the samples of one thing, the spread of a figure over the rounds, ratios within each round
samples       what one round of inference finds: latencies, and whether the labels are right
processes     worker processes: started, told what to do, ended with their parent
process_tree  CPU time and memory of a process and all that it started
machine       processor, memory and versions; peak memory of processes; what other programs took meanwhile
"""
