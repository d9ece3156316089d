from __future__ import annotations

import asyncio

import pytest

from holdfast.errors import VaultUnavailableError
from holdfast.server.slots import Slots


def test_one_more_than_there_are_slots_waits_for_one():
    async def scenario() -> list[str]:
        slots, told = Slots(2, 5, "uploads"), []

        async def transfer(name: str, seconds: float) -> None:
            async with slots.held():
                await asyncio.sleep(seconds)
                told.append(name)

        await asyncio.gather(transfer("long", 0.2), transfer("short", 0.05), transfer("third", 0))
        return told

    assert asyncio.run(scenario()) == ["short", "third", "long"]


def test_who_waits_too_long_is_told_when_to_come_back_and_slots_are_given_back():
    async def scenario() -> VaultUnavailableError:
        slots = Slots(1, 0.05, "uploads")
        async with slots.held():
            with pytest.raises(VaultUnavailableError) as caught:
                await slots.take()
        async with slots.held():
            return caught.value

    assert asyncio.run(scenario()).details == {"retry_after_s": 1}
