"""The command `fallow-agent`. What only some of its forms need is imported there: a job waits for `prolog`."""

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import msgspec

    from fallow_agent import config

EXIT_FAILURE = 1

GRPC_EXPERIMENTS = "-event_engine_client"
"""What gRPC is told before it is loaded. Its event engine (grpcio 1.85) wakes a pool of up to 16 threads for each
packet, and each then waits in ever longer steps: at a report a second 0.13 % of a core on 2 CPUs, 0.25 % on 64. The
older client takes 0.03 %. A gRPC that no longer knows the word says so in one line and goes on."""

_MEANING = {
    "site": "centre that this node belongs to",
    "node": "name of this node; empty: the host name",
    "rack": "rack that it stands in; empty: not known",
    "collector": "host:port of the collector's gRPC",
    "interval_s": "seconds between reports",
    "readers.enabled": '"auto", or names of readers',
    "readers.deadline_s": "seconds that a reader may take to answer",
    "readers.run_dir": "folder of the readers' locks; must outlive the agent",
    "readers.kernel_log": "where drivers say what happened to a device; empty: not read",
    "spool.dir": "folder of what the collector has not acknowledged",
    "spool.max_mib": "beyond that the oldest reports are dropped, and counted",
    "spool.max_age_h": "reports older than that are dropped, and counted",
    "tls.ca": "certificate authority of the collector",
    "tls.cert": "this node's certificate",
    "tls.key": "and its key",
    "kubernetes.pod_resources": "kubelet's socket; empty: not asked",
    "insecure": "allows another machine's collector without TLS",
}


def main(arguments: list[str] | None = None) -> int:
    words = sys.argv[1:] if arguments is None else arguments
    if words[:1] == ["prolog"]:
        from fallow_agent import prolog

        return prolog.main(words[1:])
    if words[:1] in (["quiesce"], ["resume"]):
        from fallow_agent import quiesce_command

        return quiesce_command.main(words)
    if words[:1] == ["enroll"]:
        from fallow_agent.enrolment import cli

        return cli.main(words[1:])
    return _serve_or_look(words)


def _serve_or_look(words: list[str]) -> int:
    from fallow_agent import config
    from fallow_agent.errors import AgentError, ConfigError

    options = _parser(config.DEFAULT_PATH).parse_args(words)
    try:
        settings = config.read(options.config)
        if options.check:
            return _check(settings)
        if options.once:
            return _once(settings, as_json=options.json)
        if options.doctor:
            return _doctor(settings)
        return _run(settings)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return EXIT_FAILURE
    except AgentError as error:
        print(f"fallow-agent: {error}", file=sys.stderr)
        return EXIT_FAILURE
    except KeyboardInterrupt:
        return 130


def version() -> str:
    import importlib.metadata

    return importlib.metadata.version("fallow")


def _parser(default_path: Path) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fallow-agent", description="Reads this node's devices and streams what they say to a Fallow collector.",
        epilog="fallow-agent enroll gets this node a certificate, fallow-agent prolog says whether a job may start on "
               "it, fallow-agent quiesce and resume have the running agent let go of all devices for a while; each has "
               "a --help of its own",
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help=f"configuration; default {default_path}")
    parser.add_argument("--version", action="version", version=f"fallow-agent {version()}")
    parser.add_argument("--json", action="store_true", help="with --once: JSON instead of a table")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="say what the configuration means, and end")
    what.add_argument("--once", action="store_true", help="read all devices now, print them, and end")
    what.add_argument("--doctor", action="store_true", help="look for what would keep the agent from working")
    return parser


def _check(settings: "config.Settings") -> int:
    import msgspec

    for key, value in _effective(settings):
        print(f"{f'{key} = {msgspec.json.encode(value).decode()}':<50}  # {_MEANING[key]}")
    print()
    print(f"This node is {settings.node_name} of site {settings.site}; its readers are "
          f"{', '.join(settings.reader_names)}.")
    how = "with TLS on both sides" if settings.has_tls else "WITHOUT encryption or proof of identity"
    print(f"A report every {settings.interval_s:g} s goes to {settings.collector} {how}.")
    print("The configuration is good.")
    return 0


def _effective(settings: "msgspec.Struct", above: str = "") -> list[tuple[str, object]]:
    """Every key with its value, dotted."""
    import msgspec

    found: list[tuple[str, object]] = []
    for field in msgspec.structs.fields(settings):
        value = getattr(settings, field.name)
        if isinstance(value, msgspec.Struct):
            found += _effective(value, f"{above}{field.name}.")
        else:
            found.append((f"{above}{field.name}", value))
    return found


def _once(settings: "config.Settings", *, as_json: bool) -> int:
    import msgspec

    from fallow_agent import once

    seen = once.look(settings)
    if as_json:
        text = msgspec.json.format(msgspec.json.encode(once.as_json(settings, seen)), indent=2)
        print(text.decode())
    else:
        print(once.as_text(seen))
    return 0 if any(each.devices for each in seen) else EXIT_FAILURE


def _doctor(settings: "config.Settings") -> int:
    from fallow_agent import doctor

    failed = False
    for finding in doctor.examine(settings):
        print(finding, flush=True)
        failed = failed or finding.mark is doctor.Mark.FAIL
    return EXIT_FAILURE if failed else 0


def _run(settings: "config.Settings") -> int:
    # gRPC costs 10 MB and threads, and the commands above do without.
    os.environ.setdefault("GRPC_EXPERIMENTS", GRPC_EXPERIMENTS)
    import asyncio
    import faulthandler
    import logging

    from fallow_agent import app
    from fallow_agent.logs import set_up

    set_up()
    faulthandler.enable()  # systemd's watchdog ends us by SIGABRT: the journal then says where we were stuck
    _make_run_dir(settings)
    if not asyncio.run(app.Agent.serve(settings, version())):
        logging.shutdown()
        os._exit(EXIT_FAILURE)  # a thread that waits for a dead disk would keep us here
    return 0


def _make_run_dir(settings: "config.Settings") -> None:
    """Without it the agent runs all the same, and says of each reader why it has nothing to say."""
    import logging

    from fallow_agent import run_dir
    from fallow_agent.logs import line

    log = logging.getLogger(__name__)
    folder = run_dir.chosen(settings.readers.run_dir, os.environ.get("XDG_RUNTIME_DIR", ""))
    if str(folder) != settings.readers.run_dir:
        log.warning(line("run_dir cannot be made by this user", run_dir=settings.readers.run_dir, instead=folder))
        settings.readers.run_dir = str(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        log.error(line("run_dir cannot be made, and readers need it", run_dir=folder, error=error))


if __name__ == "__main__":
    sys.exit(main())
