"""Between a PACS and the model: studies are received, segmented when they are complete, and the results delivered.

No torch. docs/gateway.md says how it is configured and run, `contract.py` how its parts meet.
"""
