"""Routes that change what the collector believes of devices: declared inventory and baselines."""

from litestar import delete, post
from litestar.params import FromPath, JSONBody

from fallow_collector.api.caller import Caller, FromCaller, Places, check_device
from fallow_collector.api.documents import errors
from fallow_collector.api.parameters import FromAnswers
from fallow_collector.api.query import CLASSES, BadQuery, known
from fallow_proto import api

MAX_UUID = 256
MAX_BODY_BYTES = 32 * 2**20  # a declaration of some 200,000 devices


@post(
    "/api/v1/inventory", operation_id="declare", summary="Declare devices", sync_to_thread=False, status_code=200,
    responses=errors(400, 403), request_max_body_size=MAX_BODY_BYTES,
)
def declare(answers: FromAnswers, caller: FromCaller, data: JSONBody[api.Declaration]) -> api.DeclarationResult:
    """Say that devices are there: one that is declared and not seen counts as absent."""
    check(data)
    for device in data.devices:
        check_site(caller, answers, device)
    return answers.declare(data)


@delete(
    "/api/v1/inventory/{uuid:str}", operation_id="retire", summary="Retire a device", sync_to_thread=False,
    responses=errors(404, 409),
)
def retire(answers: FromAnswers, caller: FromCaller, uuid: FromPath[str]) -> None:
    """Forget a device that is absent; one that is still seen is refused."""
    check_device(caller, answers, uuid)
    answers.retire(uuid)


@post(
    "/api/v1/devices/{uuid:str}/baseline/accept", operation_id="accept_baseline", summary="Accept a baseline",
    sync_to_thread=False, status_code=200, responses=errors(404, 409),
)
def accept_baseline(answers: FromAnswers, caller: FromCaller, uuid: FromPath[str]) -> api.Baseline:
    """Take what the device draws and holds now as what it draws and holds when nothing runs on it."""
    check_device(caller, answers, uuid)
    return answers.accept_baseline(uuid)


def check_site(caller: Caller, places: Places, device: api.Declared) -> None:
    """Raises OtherSite if the device, or the node that it is said to be in, is not of the caller's sites."""
    caller.check_site(device.site)
    for site in (places.site_of(device.uuid), places.site_of_node(device.node)):
        if site:
            caller.check_site(site)


def check(declaration: api.Declaration) -> None:
    """Raises BadQuery if a device has no usable uuid, twice the same, or an unknown class."""
    if not declaration.devices:
        raise BadQuery("devices is empty; expected at least one device with a uuid")
    seen = set()
    for position, device in enumerate(declaration.devices):
        where = f"devices[{position}].uuid={device.uuid!r}"
        if not device.uuid or len(device.uuid) > MAX_UUID or not device.uuid.isprintable() or "/" in device.uuid:
            raise BadQuery(f"{where}: expected 1 to {MAX_UUID} printable characters without /")
        for word in (device.uuid, device.node, device.site, device.vendor, device.model):
            if len(word) > MAX_UUID or not word.isprintable() or word.endswith("\\"):
                raise BadQuery(
                    f"{where}: {word[:MAX_UUID]!r}; expected at most {MAX_UUID} printable characters, the last of them "
                    f"no backslash"
                )
        if device.uuid in seen:
            raise BadQuery(f"{where}: is there twice; expected each device once")
        seen.add(device.uuid)
        if device.device_class:
            known("class", (device.device_class,), CLASSES)
