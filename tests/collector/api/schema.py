"""As much of JSON Schema as /openapi.json uses; anything else it says is an error of the test."""

from typing import Any

KNOWN = {
    "$ref", "type", "oneOf", "properties", "required", "items", "additionalProperties", "title", "description",
    "default", "minimum", "maximum", "minLength", "maxLength",
}
TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,), "null": (type(None),),
    "array": (list,), "object": (dict,),
}


def faults(value: Any, schema: dict[str, Any], document: dict[str, Any], place: str = "$") -> list[str]:
    """Where a JSON value is not what the schema says; keys that the schema does not name are faults too."""
    assert set(schema) <= KNOWN, f"{place}: this test does not know {set(schema) - KNOWN}"
    if "$ref" in schema:
        return faults(value, document["components"]["schemas"][schema["$ref"].rpartition("/")[2]], document, place)
    if "oneOf" in schema:
        found = [faults(value, one, document, place) for one in schema["oneOf"]]
        return [] if [] in found else min(found, key=len)
    kinds = TYPES[schema["type"]]
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        return [f"{place}: expected {schema['type']}, found {value!r}"]
    if isinstance(value, list):
        return [
            fault for n, item in enumerate(value) for fault in faults(item, schema["items"], document, f"{place}[{n}]")
        ]
    if isinstance(value, dict):
        return _object_faults(value, schema, document, place)
    return []


def _object_faults(value: dict[str, Any], schema: dict[str, Any], document: dict[str, Any], place: str) -> list[str]:
    properties, others = schema.get("properties", {}), schema.get("additionalProperties")
    found = [f"{place}: lacks {name}" for name in schema.get("required", ()) if name not in value]
    for name, item in value.items():
        if name in properties:
            found += faults(item, properties[name], document, f"{place}.{name}")
        elif isinstance(others, dict):
            found += faults(item, others, document, f"{place}.{name}")
        else:
            found.append(f"{place}: {name} is not documented")
    return found
