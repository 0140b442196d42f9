"""`swinunet benchmark gateway`: how fast studies are received, how soon results go out, and what memory that takes.

benchmark   the run: what follows, put together
settings    how many instances, of what size, on how many associations
instances   the instances that are sent
receivers   the programs that receive: the gateway, dcmtk's storescp, Orthanc; senders: what sends to them
receiving   instances a second, and CPU time of each
delivery    from the last instance of a study to its delivered SEG
memory      of the gateway after more and more instances
result      what was found; report: tables, goals and the picture of it
"""
