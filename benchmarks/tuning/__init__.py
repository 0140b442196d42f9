"""`swinunet tune`: which way of serving a model is the fastest on this machine, within the limits that are asked for.

candidates    the ways: engine, processes, streams, threads, batch, queue delay
goal          what is asked for, and which of two measurements answers it better
bounds        what no way can exceed, from the machine's matrix-multiply peaks
measuring     one way under load, on a real Triton
search        which ways are measured, in which order, and which are passed over
tuned_config  the winner as a Triton config, with the machine and the figures beside it
report        table, picture and reasons
"""
