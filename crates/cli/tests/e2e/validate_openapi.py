"""Validates answers of the admin interface against its own description; prints one line a fault.

    validate_openapi.py DESCRIPTION '[["GET", "/v1/status", 200, {…}], …]'
"""

import json
import sys

import jsonschema

description = json.load(open(sys.argv[1]))
dialect = jsonschema.Draft202012Validator
for name, schema in description["components"]["schemas"].items():
    dialect.check_schema(schema)
for method, path, status, value in json.loads(sys.argv[2]):
    try:
        operation = description["paths"][path][method.lower()]
        content = operation["responses"][str(status)]["content"]
        schema = dict(content["application/json"]["schema"])
    except KeyError as missing:
        print(f"{method} {path} {status}: not described: {missing}")
        continue
    schema["components"] = description["components"]
    for fault in dialect(schema).iter_errors(value):
        print(f"{method} {path} {status}: {fault.json_path}: {fault.message}")
