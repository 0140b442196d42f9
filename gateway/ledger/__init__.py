"""The ledger: what was received, what is to be done and what became of it, in one database.

A change that belongs together is one transaction. The same schema serves SQLite and PostgreSQL.
"""
