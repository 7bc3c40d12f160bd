"""The authority: what is asked of it, in one place. Every verb is on disk when it returns.

Beside certs.sqlite it keeps a folder tls/ with what others read: ca.pem, whom to trust; collector.pem, the collector's
key and certificate; nodes/NODE.pem, made by hand for nodes that do not enrol. Key and certificate lie in one file, so
that one rename replaces both (as kubelet keeps them).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from fallow_collector.certs import choose, join
from fallow_collector.certs.errors import CertsError, NoAuthority, Refused
from fallow_collector.certs.file import NAME, CertsFile
from fallow_collector.certs.issuer import (
    Issuer,
    Span,
    agent_leaf,
    collector_leaf,
    issuer_of,
    new_issuer,
    new_key,
    pem_of,
    pem_of_key,
    requested_key,
)
from fallow_collector.certs.names import collector_names, node_name
from fallow_collector.certs.revocations import Revocations
from fallow_collector.certs.rows import Kind, Leaf, Listed, Root, parse_serial, serial_of
from fallow_proto.durable import replace
from fallow_proto.enrolment import fingerprint

ROOT_LIFE_S = 5 * 365 * 86_400
COLLECTOR_LIFE_S = 365 * 86_400
LEAVES_OF_NODE = 16
"""Live ones. A node renews one every few days; more is somebody who fills the disk."""


class Granted(NamedTuple):
    """PEM."""

    certificate: str
    ca: str


class Authority:
    """agent_life_s: of the leaves that agents get. Times are unix seconds."""

    def __init__(self, directory: Path, agent_life_s: float) -> None:
        """Open or make the file in [state] dir. Raises StateError, CertsError."""
        self.tls = directory / "tls"
        self._agent_life_s = agent_life_s
        self._file = CertsFile(directory)
        if self.bundle_path.exists() and not self._file.roots():
            self._file.close()
            raise CertsError(
                f"{directory / NAME} holds no authority, but {self.bundle_path} is of one: the file was lost or "
                f"damaged. Bring it back from a backup; or remove {self.tls}, make a new authority with "
                f"`fallow-collector certs init`, and enrol every node again"
            )

    @property
    def bundle_path(self) -> Path:
        return self.tls / "ca.pem"

    @property
    def collector_path(self) -> Path:
        return self.tls / "collector.pem"

    @property
    def version(self) -> int:
        return self._file.version

    def close(self) -> None:
        self._file.close()

    # --- the authority itself ---

    def init(self, now: float) -> Root:
        """Raises CertsError if there is one."""
        with self._file.transaction():
            if self._file.roots():
                raise CertsError("there is an authority already; `fallow-collector certs rotate` makes the next one")
            return self._add_root(now)

    def rotate(self, now: float) -> Root:
        """A new authority beside the old one; choose.py says what follows by itself."""
        with self._file.transaction():
            self._roots()
            return self._add_root(now)

    def bundle(self, now: float) -> str:
        return "".join(root.certificate for root in choose.trusted(self._roots(), self._file.in_use(now)))

    def pin(self, now: float) -> str:
        """Fingerprint of the authority by which a new agent knows the collector."""
        return fingerprint(choose.for_collector(self._roots(), self._file.in_use(now)).certificate)

    def keep(self, now: float) -> None:
        """What time brings about: ca.pem without those who are over, and the collector's own leaf renewed."""
        with self._file.transaction():
            if not self._file.roots():
                return
            if self.collector_path.exists() and (mine := self._file.in_use(now).collector) is not None:
                signer = choose.for_collector(self._roots(), self._file.in_use(now))
                if choose.is_due(mine, now) or signer.serial != mine.root:
                    self._issue_collector(mine.name.split(" "), now)
            self._write_bundle(now)

    # --- leaves ---

    def issue_node(self, node: str, now: float) -> Path:
        """For a node that does not enrol: key and certificate in a file."""
        with self._file.transaction():
            key = new_key()
            certificate = self._sign_agent(node_name(node), key.public_key(), now)
            return self._write_pair(self.tls / "nodes" / f"{node}.pem", key, certificate)

    def issue_collector(self, names: Sequence[str], now: float) -> Path:
        with self._file.transaction():
            return self._issue_collector(names, now)

    def enrol(self, token: str, node: str, request: bytes, now: float) -> Granted:
        """Spends the token for this node. Raises Refused."""
        digest, node = join.hash_of(token), node_name(node)
        with self._file.transaction():
            if fault := join.complaint(*self._file.join(digest, node), node, now):
                raise Refused(fault)
            key = requested_key(request)
            self._file.use_join(digest, node, int(now))
            return Granted(pem_of(self._sign_agent(node, key, now)), self.bundle(now))

    def renew(self, shown: bytes, request: bytes, now: float) -> Granted:
        """shown: PEM of the certificate that the connection's other end has proven to be its own. Raises Refused."""
        with self._file.transaction():
            leaf = self._file.leaf(serial_of(x509.load_pem_x509_certificate(shown)))
            if leaf is None or leaf.kind is not Kind.AGENT:
                raise Refused("the certificate is none that this collector gave to an agent; its issuer renews it")
            if fault := self._file.revocations().complaint(leaf.serial, leaf.begins, leaf.name):
                raise Refused(fault)
            if now >= leaf.ends:
                raise Refused("the certificate has expired; enrol the node again")
            if len(self._file.live_of(leaf.name, now)) >= LEAVES_OF_NODE:
                raise Refused(f"node {leaf.name} has {LEAVES_OF_NODE} certificates that are good, expected one or two")
            return Granted(pem_of(self._sign_agent(leaf.name, requested_key(request), now)), self.bundle(now))

    def listed(self) -> list[Listed]:
        return self._file.listed()

    # --- who may ---

    def make_join_token(self, nodes: Sequence[str], ttl_s: float, now: float) -> str:
        token = join.new_token()
        with self._file.transaction():
            self._roots()
            self._file.add_joins(join.hash_of(token), nodes, round(now + ttl_s))
        return token

    def revoke(self, what: str, now: float) -> list[str]:
        """A serial, or a node with all that it has; returns the serials that were good until now. Raises CertsError."""
        with self._file.transaction():
            live = self._file.live_of(what, now)
            if not live and (serial := parse_serial(what)):
                self._file.revoke([serial], int(now))
                return [serial]
            self._file.revoke_node(node_name(what), int(now))
            serials = [leaf.serial for leaf in live]
            self._file.revoke(serials, int(now))
            return serials

    def revocations(self) -> Revocations:
        return self._file.revocations()

    # --- inside a transaction ---

    def _roots(self) -> list[Root]:
        roots = self._file.roots()
        if not roots:
            raise NoAuthority("there is no authority here; `fallow-collector certs init` makes one")
        return roots

    def _add_root(self, now: float) -> Root:
        span = Span(int(now) - choose.BACKDATE_S, round(now) + ROOT_LIFE_S)
        issuer = new_issuer(span)
        certificate = issuer.certificate
        root = Root(serial_of(certificate), int(now), span.ends, pem_of(certificate), pem_of_key(issuer.key))
        self._file.add_root(root)
        self._write_bundle(now)
        return root

    def _issuer(self, root: Root) -> Issuer:
        return issuer_of(root.certificate, root.key)

    def _sign_agent(self, node: str, key: ec.EllipticCurvePublicKey, now: float) -> x509.Certificate:
        root = choose.for_agents(self._roots())
        since = self._file.revocations().nodes.get(node, 0)
        certificate = agent_leaf(
            self._issuer(root), node, key, choose.span(now, self._agent_life_s, root.ends, not_before=since)
        )
        self._note(certificate, root, Kind.AGENT, node, now)
        return certificate

    def _issue_collector(self, names: Sequence[str], now: float) -> Path:
        root = choose.for_collector(self._roots(), self._file.in_use(now))
        key = new_key()
        span = choose.span(now, COLLECTOR_LIFE_S, root.ends)
        certificate = collector_leaf(self._issuer(root), collector_names(names), key.public_key(), span)
        self._note(certificate, root, Kind.COLLECTOR, " ".join(names), now)
        return self._write_pair(self.collector_path, key, certificate)

    def _note(self, certificate: x509.Certificate, root: Root, kind: Kind, name: str, now: float) -> None:
        begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        self._file.add_leaf(Leaf(
            serial_of(certificate), root.serial, kind, name, int(now), int(begins.timestamp()), int(ends.timestamp())
        ))

    def _write_pair(self, path: Path, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> Path:
        self._write(path, pem_of_key(key) + pem_of(certificate), 0o600)
        return path

    def _write_bundle(self, now: float) -> None:
        bundle = self.bundle(now)
        if not self.bundle_path.exists() or self.bundle_path.read_text() != bundle:
            self._write(self.bundle_path, bundle, 0o644)

    def _write(self, path: Path, text: str, mode: int) -> None:
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            replace(path, text.encode(), mode=mode)
        except OSError as error:
            raise CertsError(f"{path} cannot be written: {error.strerror}; check the disk and its owner") from error

