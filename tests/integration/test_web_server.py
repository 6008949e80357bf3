"""`serve` says where it listens, stops cleanly, and explains why it cannot start."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

import httpx
import pytest

from live_server import running_server
from shopwindow.errors import UsageError
from shopwindow.inference.predictor import Predictor
from shopwindow.settings import Settings
from shopwindow.web.server.serve import serve


@pytest.mark.parametrize("stop_with", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_the_server_with_exit_code_0(
    colour_bundle: Path, stop_with: signal.Signals
) -> None:
    with running_server(colour_bundle, stop_with=stop_with) as url:
        assert httpx.get(f"{url}/health/ready").status_code == 200


def test_port_in_use_is_reported_with_the_option_to_change(predictor: Predictor) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=rf":{port} is in use .* --port \d+"):
            serve(predictor, Settings(port=port))


def test_foreign_address_is_reported_with_the_option_to_change(predictor: Predictor) -> None:
    with pytest.raises(UsageError, match="--host"):
        serve(predictor, Settings(host="192.0.2.1", port=0))


def test_unknown_host_name_is_reported_with_the_option_to_change(predictor: Predictor) -> None:
    with pytest.raises(UsageError, match="--host"):
        serve(predictor, Settings(host="no such host", port=0))
