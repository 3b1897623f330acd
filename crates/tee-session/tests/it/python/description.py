"""Validates an API description (OpenAPI 3.1) against the standard, and its examples against its schemas.

Usage: description.py FILE
Prints the number of examples. Fails at the first invalid example.
"""

import json
import sys

import jsonschema_rs
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR


def examples_of(described):
    """Yields the examples of a media type, a header or a parameter."""
    if "example" in described:
        yield described["example"]
    for example in described.get("examples", {}).values():
        yield example["value"]


def schemas_with_examples(node):
    """Yields each schema in a description that has an example, with each of its examples."""
    if isinstance(node, list):
        for item in node:
            yield from schemas_with_examples(item)
    if not isinstance(node, dict):
        return
    if isinstance(node.get("schema"), dict):
        for example in examples_of(node):
            yield node["schema"], example
    if isinstance(node.get("examples"), list):
        for example in node["examples"]:
            yield node, example
    for item in node.values():
        yield from schemas_with_examples(item)


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        description = json.load(file)
    OPENAPI_31_VALIDATOR.validate(description)
    components = description["components"]
    count = 0
    for schema, example in schemas_with_examples(description):
        whole = {"allOf": [schema], "components": components}
        validator = jsonschema_rs.Draft202012Validator(whole, validate_formats=True)
        validator.validate(example)
        count += 1
    print(count)


main()
