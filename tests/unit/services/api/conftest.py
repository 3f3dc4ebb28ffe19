"""What the tests of the api share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.api import Api


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    """An api on an opened, empty store."""
    made = Api(tmp_path)
    await made.log.open()
    await made.store.open()
    yield made
    await made.part.close()
    await made.store.close()
    await made.log.close()
