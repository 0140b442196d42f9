"""Peers by DIMSE (PS3.7, PS3.8): the listener, senders, queries, retrievals and storage commitment.

Built on pynetdicom 3.0.4, whose faults `answers`, `upper_layer`, `association` and `server` mend; each says which.
"""
