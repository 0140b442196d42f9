"""kill -9 of the gateway at every stage, and at random: what got a success is segmented and delivered, once by its UID.

SWINUNET_GATEWAY_KILLS=30 (`make gateway-kills`) kills that often at random; without it three times.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from dicom_nodes import wait_until
from killed_gateways import KilledGateway, new_study, require_nothing_lost
from pydicom.dataset import Dataset

from swinunet.serving import TritonServer

KILLS = int(os.environ.get("SWINUNET_GATEWAY_KILLS", "3"))
SEED = 20261129


@pytest.fixture
def gateway(small_triton: TritonServer, tmp_path: Path) -> Iterator[KilledGateway]:
    killed = KilledGateway(tmp_path, small_triton.url)
    yield killed
    killed.close()


def test_a_kill_at_each_stage_loses_nothing(gateway: KilledGateway) -> None:
    """In the middle of an association, after the last success, in inference, before and in the delivery."""
    gateway.start()
    with ThreadPoolExecutor() as pool:
        sending = pool.submit(gateway.send, new_study(1, 12), pause_s=0.1)
        wait_until(lambda: gateway.told, "the first success")
        gateway.kill()
        left = sending.result()
    assert left, "everything was sent before the kill"

    gateway.start()
    gateway.send_until_told(left)
    gateway.send_until_told(new_study(2))
    gateway.kill()  # while both studies wait for silence

    gateway.start()
    gateway.wait_for_state("running")
    gateway.kill(with_workers=False)

    gateway.pacs.delay_s = 3.0  # from now on the PACS takes its time
    gateway.start()
    gateway.wait_for_state("delivering")
    gateway.kill()

    gateway.pacs.delay_s = 0.0
    gateway.start()
    jobs = require_nothing_lost(gateway)
    assert len({job.study for job in jobs}) == 2


def test_kills_at_random_moments_lose_nothing(gateway: KilledGateway) -> None:
    generator = random.Random(SEED)
    unsent: list[list[Dataset]] = []
    for kill in range(KILLS):
        gateway.start()
        with ThreadPoolExecutor() as pool:
            sending = [pool.submit(gateway.send, study) for study in [new_study(100 + kill), *unsent]]
            time.sleep(generator.uniform(0.0, 4.0))
            gateway.kill(with_workers=generator.random() < 0.5)
            unsent = [left for each in sending if (left := each.result())]
    gateway.start()
    for left in unsent:
        gateway.send_until_told(left)
    require_nothing_lost(gateway)
    assert len(gateway.told) == KILLS
    assert "Traceback" not in gateway.said()
