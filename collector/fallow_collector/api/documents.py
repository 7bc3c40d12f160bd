"""What /openapi.json says of errors, access and the routes' common parts."""

from collections.abc import Mapping
from http import HTTPStatus

from litestar.openapi import OpenAPIConfig, ResponseSpec
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme

from fallow_collector.api.problems import MEDIA_TYPE
from fallow_proto import api


def errors(*statuses: int) -> Mapping[int, ResponseSpec]:
    """Problems that a route may answer with."""
    return {
        status: ResponseSpec(api.Problem, media_type=MEDIA_TYPE, description=HTTPStatus(status).phrase,
                             generate_examples=False)
        for status in statuses
    }


def document(version: str, with_tokens: bool) -> OpenAPIConfig:
    """The settings under which the framework writes /openapi.json."""
    bearer = SecurityScheme(
        type="http", scheme="bearer", description="Role read may GET, role admin may do everything.",
    )
    return OpenAPIConfig(
        title="Fallow",
        version=version,
        summary="Which accelerators of a fleet lie fallow, and why the others do not.",
        path="/openapi.json",
        render_plugins=[JsonRenderPlugin(path="/")],
        use_handler_docstrings=True,
        components=Components(security_schemes={"bearer": bearer}) if with_tokens else Components(),
        security=[{"bearer": []}] if with_tokens else None,
    )
