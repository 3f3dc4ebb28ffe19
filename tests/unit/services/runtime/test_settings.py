"""Where settings come from, and which of two sources wins."""

from pathlib import Path

import pytest

from services.runtime import settings
from services.runtime.settings import load_configuration
from visits.errors import SettingsError

KAFKA = '[log]\nurl = "kafka://kafka:9092/page-views"\npartitions = 4\n'


@pytest.fixture
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "secrets"
    folder.mkdir()
    monkeypatch.setattr(settings, "SECRETS_DIR", folder)
    return folder


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "visit-counter.toml"
    file.write_text(KAFKA, encoding="utf-8")
    return file


def test_a_secret_file_gives_the_value_its_name_says(secrets: Path, config: Path) -> None:
    """A file is named like the environment variable; beside it, the configuration file's values stand."""
    url = "redis://ingest:a-password@redis:6379/0"
    (secrets / "VISIT_COUNTER_STORE__URL").write_text(f"{url}\n", encoding="utf-8")
    (secrets / "somebody-elses").write_text("what another program reads", encoding="utf-8")
    found = load_configuration(config, year=2026).settings
    assert found.store.url == url
    assert found.log.partitions == 4


def test_the_environment_wins_over_a_secret_file(
    secrets: Path, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is nearest to the start of the process wins."""
    (secrets / "VISIT_COUNTER_STORE__URL").write_text("redis://file:6379/0", encoding="utf-8")
    monkeypatch.setenv("VISIT_COUNTER_STORE__URL", "redis://environment:6379/0")
    assert load_configuration(config, year=2026).settings.store.url == "redis://environment:6379/0"


def test_an_unknown_key_of_a_section_in_a_secret_file_stops_the_start(
    secrets: Path, config: Path
) -> None:
    """A misspelt secret is no silent default."""
    (secrets / "VISIT_COUNTER_STORE__URI").write_text("redis://redis:6379/0", encoding="utf-8")
    with pytest.raises(SettingsError, match="uri"):
        load_configuration(config, year=2026)
