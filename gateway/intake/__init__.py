"""What happens to an instance between its last byte and its sender's success: checked, on the disk, in the ledger."""
