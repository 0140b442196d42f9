"""Where the audit trail goes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from swinunet.gateway.config.peers import STRICT, Port, TlsFiles


@dataclass(frozen=True, config=STRICT)
class SyslogConfig:
    """A syslog server over TLS (RFC 5425). tls: its authority, and our certificate where it wants one."""

    host: Annotated[str, Field(min_length=1)]
    port: Port = 6514
    tls: TlsFiles = TlsFiles()


@dataclass(frozen=True, config=STRICT)
class AuditConfig:
    """The audit trail, DICOM PS3.15 A.5. file: None is `audit.xml` in the spool. syslog: in the file's place."""

    file: Path | None = None
    syslog: SyslogConfig | None = None

    @model_validator(mode="after")
    def _one_place(self) -> AuditConfig:
        if self.file is not None and self.syslog is not None:
            raise ValueError("give file or syslog, not both")
        return self
