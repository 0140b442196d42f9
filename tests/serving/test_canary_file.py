"""A canary that is cut short or damaged is one line, before any request."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest

from swinunet.serving import ServingError
from swinunet.serving.canary import CANARY_FILE, ServedModel, check_model


def test_a_damaged_canary_is_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "model" / "1"
    folder.mkdir(parents=True)
    np.savez_compressed(
        folder / CANARY_FILE, image=np.zeros((1, 1, 8, 8), np.float16), labels=np.zeros((1, 8, 8), np.uint8)
    )
    whole = (folder / CANARY_FILE).read_bytes()
    damaged = [whole[:length] for length in range(0, len(whole), 7)]
    damaged += [whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :] for at in range(40, 100)]
    client = Mock()
    client.infer.side_effect = ServingError("it was asked")
    for content in damaged:
        (folder / CANARY_FILE).write_bytes(content)
        with pytest.raises(ServingError, match=r"export the model again|it was asked") as caught:
            check_model(client, tmp_path, ServedModel("model", "1", "READY", ""), 1.0)
        assert "\n" not in str(caught.value)
