# SPDX-License-Identifier: MIT
"""Deployment settings: file, .env and environment, in that order; credentials from the latter two and never shown."""

import dataclasses
import json
from pathlib import Path

import pytest

from usp.config import ConfigError
from usp.config.deployment import SETTING_KEYS
from usp.config.settings import DeploymentSettings, load_settings

SECRET = "hunter2-planted"
ROOT = Path(__file__).parents[2]


def problems_of(environ, **files):
    """Where and what `load_settings` complains about."""
    with pytest.raises(ConfigError) as caught:
        load_settings(environ, **files)
    return {problem.where: str(problem) for problem in caught.value.problems}


def test_nothing_set_gives_the_defaults():
    """A process starts without any file or variable."""
    assert DeploymentSettings() == load_settings({}, file=Path("absent.toml"), dotenv=Path("absent.env"))


def test_defaults_have_the_declared_range():
    """Each default passes the check that a set value must pass."""
    environ = {
        f"USP_{spec.section}__{spec.name}".upper(): str(getattr(getattr(DeploymentSettings(), spec.section), spec.name))
        for spec in SETTING_KEYS.values()
    }
    assert DeploymentSettings() == load_settings({name: text for name, text in environ.items() if text})


def test_the_environment_wins_over_dotenv_over_the_file(tmp_path):
    """The nearer source is the stronger one."""
    file, dotenv = tmp_path / "deployment.toml", tmp_path / ".env"
    file.write_text('[bus]\nmax_batch = 1\nfetch_wait_ms = 1\ninstance = "f"\n', encoding="utf-8")
    dotenv.write_text("# comment\nUSP_BUS__FETCH_WAIT_MS=2\nexport USP_BUS__INSTANCE='d'\n", encoding="utf-8")
    bus = load_settings({"USP_BUS__INSTANCE": "e"}, file=file, dotenv=dotenv).bus
    assert (bus.max_batch, bus.fetch_wait_ms, bus.instance) == (1, 2, "e")


def test_options_of_librdkafka_are_passed_on(tmp_path):
    """Dotted names in the file, underscores in the environment; a `$` in a password stands for itself."""
    file, dotenv = tmp_path / "deployment.toml", tmp_path / ".env"
    file.write_text('[bus.security]\n"security.protocol" = "SASL_SSL"\n', encoding="utf-8")
    dotenv.write_text("USP_BUS__SASL_PASSWORD=a$b\n", encoding="utf-8")
    security = load_settings({"USP_BUS__SSL_CA_LOCATION": "/ca.pem"}, file=file, dotenv=dotenv).bus.security
    expected = {"security.protocol": "SASL_SSL", "sasl.password": "a$b", "ssl.ca.location": "/ca.pem"}
    assert expected == dict(security)


def test_credentials_are_never_shown():
    """Neither the text of the settings nor what people and machines are shown holds a password."""
    settings = load_settings(
        {
            "USP_REDIS__PASSWORD": SECRET,
            "USP_REDIS__URL": f"rediss://user:{SECRET}@redis:6379/0",
            "USP_BUS__SASL_PASSWORD": SECRET,
            "USP_BUS__SASL_USERNAME": "ingest",
            "USP_SCHEMA_REGISTRY_URL": f"https://user:{SECRET}@registry",
        }
    )
    assert SECRET not in repr(settings) + str(settings) + json.dumps(settings.shown())
    assert (settings.redis.password, settings.bus.security["sasl.password"]) == (SECRET, SECRET)
    assert settings.shown()["bus"]["security"] == {"sasl.password": "(set, hidden)", "sasl.username": "ingest"}


@pytest.mark.parametrize(
    ("environ", "where"),
    [
        ({"USP_REDIS__URL": f"http://user:{SECRET}@redis"}, "redis.url"),
        ({"USP_REDIS__URL": f"redis://user:{SECRET}\n@redis"}, "USP_REDIS__URL"),
        ({"USP_REDIS__PASSWORD": SECRET + "\n"}, "USP_REDIS__PASSWORD"),
        ({"USP_SCHEMA_REGISTRY_URL": f"https://user:{SECRET}\n@registry"}, "USP_SCHEMA_REGISTRY_URL"),
        ({"USP_SCHEMA_REGISTRY_URL": f"ftp://user:{SECRET}@registry"}, "bus.schema_registry_url"),
        ({"USP_REDIS__URL": f"redis://user:{SECRET}@redis", "USP_REDIS__CA_FILE": "ca.pem"}, "redis.ca_file"),
    ],
)
def test_errors_do_not_show_credentials(environ, where):
    """A refused credential is told by its name alone."""
    message = problems_of(environ)[where]
    assert SECRET not in message


@pytest.mark.parametrize(
    "text",
    [
        f'[redis]\npassword = "{SECRET}"',
        f'[redis]\nurl = "redis://:{SECRET}@redis"',
        f'[bus]\nschema_registry_url = "https://user:{SECRET}@registry"',
        f'[bus.security]\n"sasl.password" = "{SECRET}"',
        f'[bus.security]\n"ssl.key.pem" = "{SECRET}"',
    ],
)
def test_a_credential_in_a_file_is_refused(tmp_path, text):
    """A file may be shared or committed; the message says where to put the credential, and does not show it."""
    (tmp_path / "deployment.toml").write_text(text, encoding="utf-8")
    (message,) = problems_of({}, file=tmp_path / "deployment.toml").values()
    assert "environment" in message
    assert SECRET not in message


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("[buss]\n", "[buss]"),
        ("bus = 3\n", "bus"),
        ("[bus]\npartition = 8\n", "bus.partition"),
        ("[bus]\nmax_batch = 0\n", "bus.max_batch"),
        ("[bus]\nsecurity = 3\n", "[bus.security]"),
        ('[bus.security]\n"linger.ms" = "5"\n', "bus.security.linger.ms"),
        ('[bus.security]\n"ssl.ca.location" = 5\n', "bus.security.ssl.ca.location"),
        ("[core]\nprng_seed = 1\n", "[core]"),
        ("[bus\n", "TOML"),
    ],
)
def test_a_bad_file_is_refused(tmp_path, text, where):
    """deployment.toml is closed and ranged; model keys do not belong there."""
    (tmp_path / "deployment.toml").write_text(text, encoding="utf-8")
    assert any(found.endswith(where) for found in problems_of({}, file=tmp_path / "deployment.toml"))


@pytest.mark.parametrize(
    ("environ", "where"),
    [
        ({"USP_BUS__BROKERS": "kafka"}, "USP_BUS__BROKERS"),
        ({"USP_BUSS__BROKER": "kafka"}, "USP_BUSS__BROKER"),
        ({"USP_METRICS_PORT": "9100"}, "USP_METRICS_PORT"),
        ({"USP_METRICS__PORT": "65536"}, "USP_METRICS__PORT"),
        ({"USP_BUS__DELIVERY": "at_most_once"}, "USP_BUS__DELIVERY"),
        ({"USP_BUS__BOOTSTRAP_SERVERS": "kafka"}, "bus.bootstrap_servers"),
        ({"USP_BUS__BOOTSTRAP_SERVERS": "kafka:9092,kafka:0"}, "bus.bootstrap_servers"),
        ({"USP_BUS__BOOTSTRAP_SERVERS": "kafka:9092", "USP_BUS__BROKER": "embedded"}, "bus.broker"),
        ({"USP_PATHS__SNAPSHOTS": "../elsewhere"}, "paths.snapshots"),
    ],
)
def test_a_bad_variable_is_refused(environ, where):
    """The message names the variable or the key."""
    assert [where] == list(problems_of(environ))


def test_model_keys_are_left_to_the_governor():
    """A variable of the model configuration is no deployment setting, and not an error either."""
    assert DeploymentSettings() == load_settings({"USP_ORCHESTRATION__CUSUM_H": "6"})


def test_an_unreadable_dotenv_is_told(tmp_path):
    """A .env that is no text is an error, not a silent loss of credentials."""
    (tmp_path / ".env").write_bytes(b"A=\xff")
    assert "file" in problems_of({}, dotenv=tmp_path / ".env")


def test_paths_lie_under_the_data_folder():
    """Relative paths are taken under data_dir, absolute ones as they are, and config_file has its default place."""
    environ = {"USP_PATHS__DATA_DIR": "/data", "USP_PATHS__REPORTS": "/srv/reports"}
    paths = load_settings(environ).paths
    found = [paths.resolved(name) for name in ("data_dir", "config_file", "snapshots", "reports")]
    assert found == [Path("/data"), Path("/data/config.toml"), Path("/data/io/snapshots"), Path("/srv/reports")]


def test_settings_are_frozen():
    """No part of a process changes them."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        DeploymentSettings().bus.max_batch = 9  # type: ignore[misc] -- that is what is refused


def test_every_variable_of_the_example_is_known():
    """What a newcomer copies from .env.example is accepted once it is filled in."""
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    names = [line[1:].partition("=")[0] for line in lines if line.startswith("#USP_")]
    samples = {"USP_BUS__BOOTSTRAP_SERVERS": "a:1", "USP_REDIS__URL": "redis://a", "USP_LOGS__LEVEL": "info"}
    samples["USP_SCHEMA_REGISTRY_URL"] = "https://registry"
    assert len(names) > 5
    load_settings({name: samples.get(name, "1") for name in names})
