"""The gRPC service that renews agents' certificates, beside Telemetry on the same port."""

import asyncio
import time
from collections.abc import Callable
from hashlib import sha256

import grpc
import grpc.aio

from fallow_collector.certs.authority import Granted
from fallow_collector.certs.errors import CertsError, Refused
from fallow_collector.pace import Pace
from fallow_proto.v1 import identity_pb2 as pb

SERVICE = pb.DESCRIPTOR.services_by_name["Identity"].full_name

Renew = Callable[[bytes, bytes], Granted]
"""(PEM that the peer has proven to be its own, its request) → what it gets; raises CertsError."""

Context = grpc.aio.ServicerContext[pb.RenewRequest, pb.RenewResponse]


class Renewal:
    """renew: None: there is no authority here. May be set later."""

    def __init__(self) -> None:
        self.renew: Renew | None = None
        self._pace = Pace()

    def handler(self) -> grpc.GenericRpcHandler:
        return grpc.method_handlers_generic_handler(SERVICE, {
            "Renew": grpc.unary_unary_rpc_method_handler(
                self._answer, request_deserializer=pb.RenewRequest.FromString,
                response_serializer=pb.RenewResponse.SerializeToString,
            ),
        })

    async def _answer(self, request: pb.RenewRequest, context: Context) -> pb.RenewResponse:
        if self.renew is None:
            await context.abort(
                grpc.StatusCode.UNIMPLEMENTED, "there is no authority here; `fallow-collector certs init` makes one"
            )
        shown = b"".join(context.auth_context().get("x509_pem_cert", ()))
        if not shown:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "no certificate was shown, expected the present one")
        if not self._pace.admits(sha256(shown).hexdigest(), time.monotonic()):
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many from this node; ask again in a second")
        try:
            granted = await asyncio.to_thread(self.renew, shown, request.csr)
        except Refused as error:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, str(error))
        except CertsError as error:
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
        return pb.RenewResponse(certificate=granted.certificate.encode(), ca=granted.ca.encode())
