"""Write params.schema.json, with which editors check and complete params.yaml: `make sync`.

It is a JSON schema of draft 7, which the YAML language servers of editors support; the first line of params.yaml names
it. They read YAML 1.2, as this project does. The schema is generated from the same models as the checker, so that both
agree, except for what a JSON schema cannot express, which only the checker reports: `selected` must be a technique;
batch_norm needs a batch_size of at least 2, and device cuda the backend torch; a whole number is not written as 80.0;
and .nan is not a number.
"""

from lenet5.support.process import set_up, take_no_arguments

set_up()

import sys
from pathlib import Path
from typing import Any

from pydantic.json_schema import GenerateJsonSchema
from pydantic_core.core_schema import FloatSchema

from lenet5.support.files import write_json
from lenet5.support.params import BASELINE, TECHNIQUE_NAME, Params, TrainSettings
from lenet5.support.schema import Section

PATH = Path("params.schema.json")


class Schema(GenerateJsonSchema):
    schema_dialect = "http://json-schema.org/draft-07/schema#"

    def float_schema(self, schema: FloatSchema) -> dict[str, Any]:
        """Without an upper bound, infinity would be allowed."""
        bounds = super().float_schema(schema)
        return bounds if {"maximum", "exclusiveMaximum"} & bounds.keys() else bounds | {"maximum": sys.float_info.max}

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Editors show the key itself."""
        return False


def schema_of(model: type[Section]) -> dict[str, Any]:
    """Return the JSON schema of a model, with its dialect and the definitions where draft 7 has them."""
    schema = model.model_json_schema(ref_template="#/definitions/{model}", schema_generator=Schema)
    definitions = {"definitions": schema.pop("$defs")} if "$defs" in schema else {}
    return {"$schema": Schema.schema_dialect, **schema, **definitions}


def with_techniques(schema: dict[str, Any], key: str) -> dict[str, Any]:
    """Return the schema with techniques under `key`, each of which overrides some of the training settings."""
    schema["definitions"]["TrainSettings"] = schema_of(TrainSettings)
    del schema["definitions"]["TrainSettings"]["$schema"]
    schema["definitions"]["Overrides"] = {
        "type": "object",
        "description": "The settings that differ from `train`.",
        "properties": {
            name: {"$ref": f"#/definitions/TrainSettings/properties/{name}"} for name in TrainSettings.model_fields
        },
        "additionalProperties": False,
    }
    schema["properties"][key] = {
        "type": "object",
        "propertyNames": {"type": "string", "pattern": f"^{TECHNIQUE_NAME.pattern}$"},
        "additionalProperties": {"$ref": "#/definitions/Overrides"},
    }
    return schema


def params_schema() -> dict[str, Any]:
    """Return the schema of params.yaml."""
    schema = with_techniques(schema_of(Params), "techniques")
    schema["properties"]["techniques"]["required"] = [BASELINE]
    return schema


def main() -> None:
    write_json(PATH, params_schema())


if __name__ == "__main__":
    take_no_arguments()
    main()
