"""One renewal, as a process of its own: `python -m fallow_agent.enrolment.renew COLLECTOR CA IDENTITY`.

It proves to have the present key by the connection, and the new one by the request. Exit status 0 and nothing on
standard output: the files are new. 1: they are as they were, and standard error says why.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import grpc

from fallow_agent.enrolment.files import Files, try_out, write
from fallow_agent.enrolment.request import new_request
from fallow_proto.v1 import identity_pb2 as pb
from fallow_proto.v1 import identity_pb2_grpc as stubs

TIMEOUT_S = 20.0
OPTIONS = (("grpc.enable_retries", 0), ("grpc.enable_http_proxy", 0))


def main(arguments: Sequence[str]) -> int:
    collector, ca, identity = arguments
    files = Files(Path(ca), Path(identity))
    try:
        present = files.identity.read_bytes()
        try_out(files)
        secret = grpc.ssl_channel_credentials(files.ca.read_bytes(), present, present)
        request = new_request()
        with grpc.secure_channel(collector, secret, OPTIONS) as channel:
            granted = stubs.IdentityStub(channel).Renew(pb.RenewRequest(csr=request.der), timeout=TIMEOUT_S)
        write(files, request.key, granted.certificate, granted.ca)
    except grpc.RpcError as error:
        sys.stderr.write(f"{collector}: {error.code().name}: {error.details()}\n")
        return 1
    except OSError as error:
        sys.stderr.write(f"{error.filename}: {error.strerror}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
