"""DICOM peers: what receives from them (DIMSE, STOW-RS), sends to them, asks them and fetches from them; no ledger."""
