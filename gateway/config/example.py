"""What `swinunet gateway --example` prints: it runs as it is, on loopback, with the shipped models."""

from __future__ import annotations

EXAMPLE = """\
# swinunet gateway --config gateway.toml
# Paths are from this file's folder. Everything that is not given has the default that docs/gateway.md names.

spool = "gateway_spool"          # patient data, and the ledger; readable by its user alone

[listener]                       # C-STORE and C-ECHO
ae_title = "SWINUNET"
host = "127.0.0.1"               # this machine only; a PACS elsewhere needs another address, and then TLS
port = 11112
associations = 32
# allow = [{ ae_title = "PACS", address = "10.1.2.3" }]   # nobody else is let in
# tls = { certificate = "gateway.pem", key = "gateway.key", ca = "hospital.pem" }   # with ca: mutual

[web]                            # STOW-RS, /healthz, /readyz, /metrics and the status page
host = "127.0.0.1"
port = 8042
# token_file = "token.txt"       # mode 0600; wanted on any other address than loopback

# [models]
# url = "triton.hospital:8001"   # without it a Triton is started here, on the shipped models
# traces = "http://127.0.0.1:4318"   # spans of the requests go to this OTLP collector

[[peers]]
name = "results"
kind = "folder"
folder = "gateway_results"

# [[peers]]
# name = "pacs"
# kind = "dimse"
# called_ae = "PACS"
# host = "10.1.2.3"
# port = 104
# commitment = true              # ask whether it keeps what it got, before the copies here go

# [[peers]]
# name = "archive"
# kind = "dicomweb"
# url = "https://archive.hospital/dicom-web"
# token_file = "archive.token"

[[routes]]
name = "everything"
destinations = ["results"]
# models = ["swin_unet_hippocampus"]      # without it each model that is served reads what its rules let it
# calling_ae = ["MRI1"]
# modality = ["MR"]
# description = ["t1"]
# seg_type = "labelmap"                   # where a PACS refuses it, the binary segmentation is sent

[routes.complete]                # a study is complete when
study_silence_s = 30             # no image of it came for so long, or
series_silence_s = 5             # all its associations have ended and no series got an image for so long, or
# count_from = "pacs"            # the PACS has as many images of it as are here
longest_wait_s = 3600            # and after so long it goes on, complete or not

# [webhook]
# url = "http://127.0.0.1:9000/jobs"
# secret_file = "webhook.key"    # HMAC-SHA256 signs each message
"""
