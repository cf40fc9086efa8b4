"""Options: flags before the environment before the defaults."""

from __future__ import annotations

import pytest

from throughline_worker import config
from throughline_worker.config import Config, ServiceAddress, address, duration, service_address


def test_the_defaults_of_the_type_are_those_of_the_command_line() -> None:
    assert Config.from_arguments([], {}) == Config()


def test_flags_win_over_the_environment() -> None:
    environment = {
        "MODEL_SERVICE_VARIANT": "b",
        "THROUGHLINE_DRAIN_TIMEOUT": "250ms",
        "THROUGHLINE_ALLOW_FAULTS": "true",
    }
    config = Config.from_arguments(["--variant", "a"], environment)
    assert (config.variant, config.drain_timeout, config.allow_faults) == ("a", 0.25, True)


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        (["--request-timeout", "10"], {}, "no time such as"),
        ([], {"THROUGHLINE_REQUEST_TIMEOUT": "25h"}, "THROUGHLINE_REQUEST_TIMEOUT"),
        (["--listen", "8001"], {}, "no address such as"),
        (["--max-in-flight", "0"], {}, "from 1 to"),
        ([], {"THROUGHLINE_ALLOW_FAULTS": "maybe"}, "neither true nor false"),
        (["--feature-store", "localhost:6566"], {}, "no address such as"),
        (["--processes", "65"], {}, "from 1 to 64"),
        ([], {"MODEL_SERVICE_PROCESSES": "0"}, "MODEL_SERVICE_PROCESSES"),
        (["--processes", "2", "--allow-model-control"], {}, "needs --processes 1"),
        (
            [],
            {"MODEL_SERVICE_PROCESSES": "2", "MODEL_SERVICE_ALLOW_MODEL_CONTROL": "true"},
            "same model repository",
        ),
    ],
)
def test_a_bad_value_is_named(
    arguments: list[str],
    environment: dict[str, str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        Config.from_arguments(arguments, environment)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_only_posix_systems_have_several_processes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(config, "POSIX", False)
    assert Config.from_arguments(["--processes", "1"], {}) == Config()
    with pytest.raises(SystemExit):
        Config.from_arguments(["--processes", "2"], {})
    assert "only on POSIX systems" in capsys.readouterr().err


def test_one_of_several_processes_starts_no_others() -> None:
    from_first = ["--processes", "1", "--exit-with-parent", "--inherited", "3,4,2"]
    for_all = ["--processes", "8"]
    found = Config.from_arguments([*for_all, *from_first], {"MODEL_SERVICE_PROCESSES": "8"})
    assert (found.processes, found.exit_with_parent) == (1, True)
    assert found.inherited == (3, 4, 2)
    assert found.shares_listener
    assert not found.is_first


def test_times() -> None:
    for text, seconds in [
        ("12h", 43_200),
        ("45m", 2_700),
        ("10s", 10),
        ("0s", 0),
        ("500ms", 0.5),
        ("1d", 86_400),
    ]:
        assert duration(text) == seconds
    for text in ["", "5", "d", "5 d", "-5d", "5w", "1.5h", "9" * 20 + "d", "2d"]:
        with pytest.raises(ValueError, match=r"time|day"):
            duration(text)


def test_addresses() -> None:
    assert address("192.0.2.1:80") == ("192.0.2.1", 80)
    assert address("[::1]:0") == ("::1", 0)
    for text in ["", ":80", "host", "host:65536", "host:-1"]:
        with pytest.raises(ValueError, match="no address"):
            address(text)
    assert service_address("http://store:6566/path/") == ServiceAddress("http://store:6566/path")


def test_a_password_is_sent_and_never_shown(capsys: pytest.CaptureFixture[str]) -> None:
    found = service_address("https://m:S%2FCRET@[::1]:6566/")
    assert (found.url, found.credentials) == ("https://[::1]:6566", ("m", "S/CRET"))
    config = Config.from_arguments([], {"FEATURE_STORE_URL": "http://m:SECRET@store"})
    assert config.feature_store.credentials == ("m", "SECRET")
    assert "SECRET" not in repr(config)
    for wrong in [
        "ftp://m:SECRET@store",
        "http://m:SECRET/1@store",
        "http://m:SECRET@store:port",
        "http://m:1?SECRET@store",
        "http://m:1#SECRET@store",
        "http://m:SECRET@[::1",
        "http://m:SECRET@st ore",
        "http://m:SECRET@",
        "m:SECRET@store:6566",
    ]:
        for arguments, environment in (
            (["--feature-store", wrong], {}),
            ([], {"FEATURE_STORE_URL": wrong}),
        ):
            with pytest.raises(SystemExit):
                Config.from_arguments(arguments, environment)
            told = capsys.readouterr()
            assert "no address such as" in told.err
            assert "SECRET" not in told.err + told.out
    with pytest.raises(SystemExit):
        Config.from_arguments(["http://m:SECRET@store"], {})
    told = capsys.readouterr()
    assert "***@store" in told.err
    assert "SECRET" not in told.err + told.out
