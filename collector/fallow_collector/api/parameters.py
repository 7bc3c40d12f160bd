"""The parameters of the routes, as /openapi.json documents them."""

from typing import Annotated

from litestar.di import NamedDependency
from litestar.params import QueryParameter, SkipValidation

from fallow_collector.api.answers import Answers
from fallow_collector.api.query import CLASSES, PHASES
from fallow_proto.api import FLOPS_SHOWN, TOTAL_KEYS
from fallow_proto.catalogue import PRECISIONS

FromAnswers = NamedDependency[SkipValidation[Answers]]

DEFAULT_LIMIT = 1000
MAX_LIMIT = 10_000

_SEVERAL = "A comma list, or repeated: any of them matches."

Sites = Annotated[list[str] | None, QueryParameter(name="site", description=f"Sites. {_SEVERAL}")]
Nodes = Annotated[list[str] | None, QueryParameter(name="node", description=f"Nodes. {_SEVERAL}")]
Vendors = Annotated[list[str] | None, QueryParameter(name="vendor", description=f"Vendors, lower case. {_SEVERAL}")]
Models = Annotated[
    list[str] | None, QueryParameter(name="model", description=f"Models as the driver prints them. {_SEVERAL}")
]
Classes = Annotated[
    list[str] | None, QueryParameter(name="class", description=f"Of {', '.join(CLASSES)}. {_SEVERAL}")
]
Phases = Annotated[list[str] | None, QueryParameter(name="phase", description=f"Of {', '.join(PHASES)}. {_SEVERAL}")]

PrecisionsShown = Annotated[
    list[str] | None,
    QueryParameter(
        name="precision",
        description=f"Of which FLOPS are shown, of {', '.join(PRECISIONS)}; {', '.join(FLOPS_SHOWN)} unless named. "
                    f"A comma list, or repeated.",
    ),
]
PrecisionOfTotals = Annotated[
    str, QueryParameter(name="precision", description=f"Of the FLOPS: one of {', '.join(PRECISIONS)}.")
]
TotalKeys = Annotated[
    list[str] | None,
    QueryParameter(
        name="by", description=f"What the rows are told apart by beside the class, of {', '.join(TOTAL_KEYS)}. "
                               f"A comma list, or repeated.",
    ),
]

Limit = Annotated[int, QueryParameter(ge=1, le=MAX_LIMIT, description="Most items of one page.")]
Cursor = Annotated[
    str | None,
    QueryParameter(max_length=512, description="`next` of the page before: the key after which this page starts."),
]

Columns = Annotated[list[str] | None, QueryParameter(description="Metric names. A comma list, or repeated.")]
Uuid = Annotated[str, QueryParameter(min_length=1, max_length=256, description="The device.")]
_MOMENT = "Unix seconds, RFC 3339, now, or a time ago such as -1h."
Start = Annotated[str, QueryParameter(description=f"First moment, included. {_MOMENT}")]
End = Annotated[str, QueryParameter(description=f"Last moment, not included. {_MOMENT}")]
Step = Annotated[
    str,
    QueryParameter(
        description="Seconds, or such as 1m: the mean of each step, a counter's last value. 0: the rows as they came."
    ),
]

OneSite = Annotated[str, QueryParameter(name="site", description="Only devices of this site.")]
OneNode = Annotated[str, QueryParameter(name="node", description="Only devices of this node.")]
