# SPDX-License-Identifier: MIT
from pathlib import Path

import pytest

from usp.io.credentials import (
    MissingCredentialError,
    describe_credential,
    find_credential,
    get_credential,
    get_credentials,
    load_env_file,
)

SECRET = "hunter2-hunter2"


@pytest.fixture
def env_file(tmp_path: Path) -> Path:
    """A file as operators write it."""
    path = tmp_path / ".env"
    path.write_text(
        f"# comment\nREDIS_PASSWORD={SECRET}\nQUOTED='with space # and hash'\nexport EXPORTED=\"x\"\nEMPTY=\n"
        "NOT_EXPANDED=${HOME}\nbare\n\nÜNICODE=ü\n"
    )
    return path


def test_the_environment_comes_before_the_file(env_file: Path):
    """An operator can override the file for one process."""
    assert get_credential("REDIS_PASSWORD", {}, env_file) == SECRET
    assert get_credential("REDIS_PASSWORD", {"REDIS_PASSWORD": "other"}, env_file) == "other"
    assert get_credential("REDIS_PASSWORD", {"REDIS_PASSWORD": ""}, env_file) == SECRET


def test_the_file_is_read_as_people_expect(env_file: Path):
    """Quotes are stripped, comments skipped, nothing is expanded."""
    assert load_env_file(env_file) == {
        "REDIS_PASSWORD": SECRET,
        "QUOTED": "with space # and hash",
        "EXPORTED": "x",
        "EMPTY": "",
        "NOT_EXPANDED": "${HOME}",
        "ÜNICODE": "ü",
    }


@pytest.mark.parametrize("name", ["NOWHERE", "EMPTY", "bare"])
def test_a_missing_or_empty_credential_is_a_clear_error(env_file: Path, name: str):
    """The error says the name and where to put the value, and shows no other secret."""
    with pytest.raises(MissingCredentialError, match=f"credential {name}: found it") as caught:
        get_credential(name, {"OTHER": SECRET}, env_file)
    assert SECRET not in str(caught.value)
    assert find_credential(name, {}, env_file) is None


def test_all_missing_ones_are_named_at_once(env_file: Path):
    """One start tells everything that is to be set."""
    with pytest.raises(MissingCredentialError, match="credentials A, B: found none"):
        get_credentials(["B", "REDIS_PASSWORD", "A"], {}, env_file)
    assert get_credentials(["REDIS_PASSWORD"], {}, env_file) == {"REDIS_PASSWORD": SECRET}


def test_no_file_is_no_error(tmp_path: Path):
    """Most deployments have none."""
    assert load_env_file(tmp_path / ".env") == {}
    with pytest.raises(MissingCredentialError, match="expected a value in the environment"):
        get_credential("A", {})


def test_a_file_that_is_no_text_is_refused(tmp_path: Path):
    """And its bytes are not shown."""
    (tmp_path / ".env").write_bytes(b"A=\xff\xfe")
    with pytest.raises(MissingCredentialError, match="no UTF-8 text"):
        load_env_file(tmp_path / ".env")


def test_a_report_shows_presence_only():
    """`set` or `missing`, nothing about the value."""
    assert describe_credential("A", {"A": SECRET}) == "set"
    assert describe_credential("B", {"A": SECRET}) == "missing"
