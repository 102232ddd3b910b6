"""Validates the bill of materials on standard input against CycloneDX 1.7; prints each fault."""

import json
import pathlib
import sys

import jsonschema

folder = pathlib.Path(__file__).parent
schemas = {path.name: json.loads(path.read_text()) for path in folder.glob("*.schema.json")}
store = {"http://cyclonedx.org/schema/" + name: schema for name, schema in schemas.items()}
main = schemas["bom-1.7.schema.json"]
resolver = jsonschema.RefResolver(main["$id"], main, store=store)
faults = list(jsonschema.Draft7Validator(main, resolver=resolver).iter_errors(json.load(sys.stdin)))
for fault in faults[:20]:
    print("/".join(map(str, fault.absolute_path)), fault.message[:300])
sys.exit(1 if faults else 0)
