"""What others see of the gateway: health, metrics, the status page, and the audit trail. No patient data."""
