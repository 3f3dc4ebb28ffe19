"""What is not to be found anywhere after readers came: their addresses, their browsers, and the salts of days gone by."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.compose import Stack, docker
from tests.support.compose_load import ADDRESS_PREFIX, AGENT_MARK, Load, write_access_log
from tests.support.process import wait_until

pytestmark = pytest.mark.compose

SITE = "load-test"
PAST_DAYS = 5
BACKUP = "test.backup"
TRACES = Path(__file__).parents[1] / "support" / "compose_traces.py"


@pytest.fixture(scope="module")
def loaded(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """The deployment after readers with the marked addresses and browsers were counted."""
    log = write_access_log(tmp_path_factory.mktemp("log") / "access.log")
    with Load(stack.gateway, SITE, rate=100, seconds=3, log=log) as load:
        assert load.result()["balance"]["closes"]
    return stack


def test_neither_address_nor_browser_is_kept(loaded: Stack) -> None:
    """Not in a volume, a backup among them, not in a log line, not in what log and store hold once it is unpacked."""
    loaded.compose("run", "--rm", "-T", "cli", "backup", f"/backup/{BACKUP}")
    held = loaded.python(TRACES.read_text(encoding="utf-8"))
    said = loaded.logs()
    assert "/tin-tuc/bai-1" in held, "the search would find nothing at all"
    for mark in (ADDRESS_PREFIX, AGENT_MARK):
        assert mark not in held
        assert mark not in said
        assert files_with(loaded, mark.encode()) == []
    of_the_site = files_with(loaded, SITE.encode())
    assert [file for file in of_the_site if file.endswith(BACKUP)], "the search would find nothing"


def test_a_backup_has_no_salt(loaded: Stack) -> None:
    """Not even today's: whoever has the backup cannot tell readers again."""
    (salt,) = loaded.python(TODAYS_SALT).split()
    kept = files_with(loaded, bytes.fromhex(salt))
    assert kept, "the search would find nothing"
    assert not [file for file in kept if file.endswith(BACKUP)]


def test_a_salt_of_the_past_leaves_the_disk(loaded: Stack) -> None:
    """A salt older than 48 hours is destroyed when ingest starts, and the append-only file is written anew without it."""
    day = (datetime.now(UTC) - timedelta(days=PAST_DAYS)).date().isoformat()
    salt = secrets.token_bytes(16)
    loaded.python(PUT_SALT.format(key=f"vc:salt:{day}", salt=salt.hex()))
    wait_until(
        lambda: files_with(loaded, salt) != [], timeout_seconds=20, what="the salt on the disk"
    )
    loaded.compose("restart", "ingest")
    wait_until(
        lambda: files_with(loaded, salt) == [],
        timeout_seconds=60,
        what="the salt gone from the disk",
    )
    loaded.up("--no-recreate")
    assert files_with(loaded, day.encode()) == []


TODAYS_SALT = """
from datetime import UTC, datetime
from pathlib import Path
from redis import Redis
url = Path("/run/secrets/VISIT_COUNTER_STORE__URL").read_text()
print(Redis.from_url(url).get(f"vc:salt:{datetime.now(UTC).date().isoformat()}").hex())
"""

PUT_SALT = """
from pathlib import Path
from redis import Redis
url = Path("/run/secrets/VISIT_COUNTER_STORE__URL").read_text()
print(Redis.from_url(url).set("{key}", bytes.fromhex("{salt}")))
"""

SEARCH = """
import sys
from pathlib import Path
needle = bytes.fromhex(sys.argv[1])
for file in Path("/v").rglob("*"):
    try:
        if file.is_file() and needle in file.read_bytes():
            print(file)
    except FileNotFoundError:
        continue
"""


def files_with(stack: Stack, needle: bytes) -> list[str]:
    """Return the files of all volumes of the deployment that hold some bytes, read by root."""
    label = f"label=com.docker.compose.project={stack.project}"
    volumes = docker("volume", "ls", "--quiet", "--filter", label).split()
    mounts = [part for volume in volumes for part in ("-v", f"{volume}:/v/{volume}:ro")]
    image = stack.environment["VISIT_COUNTER_IMAGE"]
    told = docker(
        *("run", "--rm", "-i", "--network", "none", "--user", "0", *mounts),
        *("--entrypoint", "python", image, "-", needle.hex()),
        stdin=SEARCH,
    )
    return told.split()
