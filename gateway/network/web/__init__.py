"""Peers by HTTP (PS3.18): the web server with STOW-RS, and clients of STOW-RS, QIDO-RS, WADO-RS and webhooks."""
