"""`fallow-agent enroll`: a join token becomes the node's first certificate."""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from fallow_agent import config
from fallow_agent.enrolment.files import Files, as_agent, files_of, try_out, write
from fallow_agent.enrolment.request import new_request
from fallow_agent.enrolment.server import Server
from fallow_agent.errors import AgentError, EnrolmentError
from fallow_proto.settings import SettingsError, secret


def main(arguments: Sequence[str]) -> int:
    options = _parser().parse_args(arguments)
    try:
        settings = config.read(options.config, enrolled=False)
        files = files_of(settings)
        enrol(settings, Server(options.collector, options.ca_sha256 or ""), options.token_file, files)
    except (AgentError, SettingsError) as error:
        print(f"fallow-agent enroll: {error}", file=sys.stderr)
        return 1
    print(f"Node {settings.node_name} has a certificate, which the agent renews. agent.toml needs:")
    print(f'[tls]\nca = "{files.ca}"\ncert = "{files.identity}"\nkey = "{files.identity}"')
    return 0


def enrol(settings: config.Settings, server: Server, token_file: Path, files: Files) -> None:
    """Raises EnrolmentError, SettingsError. The files are tried before the token is spent."""
    token = secret(str(token_file), "--token-file")
    try:
        with as_agent(Path(settings.spool.dir)):
            try_out(files)
            request = new_request()
            granted = server.enrol(token, settings.node_name, request.pem.decode())
            write(files, request.key, granted.certificate.encode(), granted.ca.encode())
    except OSError as error:
        raise EnrolmentError(
            f"{error.filename or files.identity.parent} cannot be written: {error.strerror}; run this as root or as "
            f"the agent's user, and let [tls] name files in a folder that is its own, for it renews them"
        ) from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fallow-agent enroll",
        description="Gets this node its certificate for a join token of `fallow-collector certs join-token`. The key "
                    "is made here and never leaves the node.",
    )
    parser.add_argument("--collector", required=True, metavar="URL", help="its HTTP, such as https://collector.example:4918")
    parser.add_argument("--token-file", required=True, type=Path, metavar="FILE", help="with the join token; mode 0600")
    parser.add_argument("--ca-sha256", type=_fingerprint, metavar="HEX",
                        help="fingerprint of the collector's authority; without it the system's are believed")
    parser.add_argument("--config", type=Path, metavar="FILE", help=f"configuration; default {config.DEFAULT_PATH}")
    return parser


def _fingerprint(text: str) -> str:
    if not re.fullmatch(r"[0-9a-fA-F]{64}", text.replace(":", "")):
        raise argparse.ArgumentTypeError(f"{text!r}: expected 64 hexadecimal digits")
    return text
