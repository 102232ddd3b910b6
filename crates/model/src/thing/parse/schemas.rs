//! Data schemas from JSON.

use super::super::format::{Format, Pattern};
use super::super::schema::{DataSchema, Items, Range, Shape};
use super::super::{MAX_ENUM, MAX_SCHEMA_DEPTH, MAX_SCHEMAS};
use super::{Reader, step};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Words of JSON Schema that restrict values and that Thing Descriptions do not have.
const UNCHECKED: [&str; 17] = [
    "allOf",
    "anyOf",
    "not",
    "if",
    "then",
    "else",
    "$ref",
    "additionalProperties",
    "patternProperties",
    "propertyNames",
    "minProperties",
    "maxProperties",
    "dependencies",
    "uniqueItems",
    "contains",
    "additionalItems",
    "prefixItems",
];

impl Reader {
    pub(super) fn sub_schema(
        &mut self,
        member: &Map<String, Value>,
        name: &str,
        path: &str,
        depth: usize,
    ) -> Option<DataSchema> {
        let path = step(path, name);
        match member.get(name)? {
            Value::Object(schema) => Some(self.schema(schema, &path, depth)),
            _ => {
                self.faults.add(path, "must be a data schema (an object)");
                None
            }
        }
    }

    pub(super) fn schema(
        &mut self,
        member: &Map<String, Value>,
        path: &str,
        depth: usize,
    ) -> DataSchema {
        self.schemas += 1;
        let mut schema = DataSchema {
            shape: Shape::Any,
            unit: None,
            read_only: self.flag(member, "readOnly", path),
            write_only: self.flag(member, "writeOnly", path),
            constant: member.get("const").cloned(),
            one_of: Vec::new(),
            enumeration: Vec::new(),
        };
        if depth >= MAX_SCHEMA_DEPTH || self.schemas > MAX_SCHEMAS {
            self.faults.add(path, format!("schemas nest at most {MAX_SCHEMA_DEPTH} deep, and there are at most {MAX_SCHEMAS}"));
            return schema;
        }
        schema.unit = self.text(member, "unit", path);
        self.words(member, path);
        for unsupported in UNCHECKED {
            if member.contains_key(unsupported) {
                self.faults.add(
                    step(path, unsupported),
                    "is not checked by devices: take it out, so that nobody relies on it",
                );
            }
        }
        match member.get("enum") {
            None => {}
            Some(Value::Array(values)) if !values.is_empty() && values.len() <= MAX_ENUM => {
                schema.enumeration.clone_from(values);
            }
            Some(_) => self
                .faults
                .add(step(path, "enum"), format!("must be a list of 1 to {MAX_ENUM} values")),
        }
        if let Some(alternatives) = member.get("oneOf") {
            schema.one_of = self.alternatives(alternatives, &step(path, "oneOf"), depth + 1);
        }
        schema.shape = self.shape(member, path, depth);
        self.own_values(member, &schema, path);
        schema
    }

    /// The values that the schema itself names must fit it: one that does not is a mistake in either.
    fn own_values(&mut self, member: &Map<String, Value>, schema: &DataSchema, path: &str) {
        let mut named: Vec<(String, &Value)> = ["const", "default"]
            .iter()
            .filter_map(|word| Some((step(path, word), member.get(*word)?)))
            .collect();
        let list = member.get("enum").and_then(Value::as_array);
        named.extend(
            list.into_iter()
                .flatten()
                .enumerate()
                .map(|(index, value)| (format!("{}[{index}]", step(path, "enum")), value)),
        );
        for (path, value) in named {
            if let Err(error) = schema.validate(value) {
                self.faults
                    .add(path, format!("does not fit the schema that it stands in: {error}"));
            }
        }
    }

    fn alternatives(&mut self, value: &Value, path: &str, depth: usize) -> Vec<DataSchema> {
        let mut all = Vec::new();
        let list = value.as_array().map(Vec::as_slice).unwrap_or_default();
        for (index, one) in list.iter().enumerate() {
            if let Some(one) = one.as_object() {
                all.push(self.schema(one, &format!("{path}[{index}]"), depth));
            }
        }
        if all.is_empty() || all.len() != list.len() {
            self.faults.add(path, "must be a list of data schemas");
        }
        all
    }

    fn shape(&mut self, member: &Map<String, Value>, path: &str, depth: usize) -> Shape {
        let kind = match member.get("type") {
            None => "",
            Some(Value::String(kind)) => kind.as_str(),
            Some(_) => "?",
        };
        const NUMBER: &[&str] =
            &["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"];
        let keywords: &[(&[&str], &[&str])] = &[
            (NUMBER, &["number", "integer"]),
            (
                &[
                    "minLength",
                    "maxLength",
                    "pattern",
                    "format",
                    "contentEncoding",
                    "contentMediaType",
                ],
                &["string"],
            ),
            (&["items", "minItems", "maxItems"], &["array"]),
            (&["properties", "required"], &["object"]),
        ];
        for (words, kinds) in keywords {
            for word in words.iter().filter(|word| member.contains_key(**word)) {
                if !kinds.contains(&kind) {
                    self.faults.add(
                        step(path, word),
                        format!(
                            "says something only about the type {}, which is not this one's",
                            kinds.join(" or ")
                        ),
                    );
                }
            }
        }
        match kind {
            "" => Shape::Any,
            "null" => Shape::Null,
            "boolean" => Shape::Boolean,
            "number" | "integer" => {
                Shape::Number { whole: kind == "integer", range: self.range(member, path) }
            }
            "string" => {
                let (min, max) = self.lengths(member, "minLength", "maxLength", path);
                // What is in such a text is for whoever reads it; the gate checks the text.
                self.text(member, "contentEncoding", path);
                self.text(member, "contentMediaType", path);
                let pattern = self.text(member, "pattern", path).and_then(|text| {
                    let pattern = Pattern::new(&text);
                    pattern.map_err(|why| self.faults.add(step(path, "pattern"), why)).ok()
                });
                let format = self.text(member, "format", path).and_then(|word| {
                    let format = Format::ALL.into_iter().find(|format| format.word() == word);
                    if format.is_none() {
                        let known = Format::ALL.map(Format::word).join(", ");
                        let why = format!("is not checked by devices, which check {known}: take it out, or say it as a pattern");
                        self.faults.add(step(path, "format"), why);
                    }
                    format
                });
                Shape::String { min, max, pattern, format }
            }
            "array" => {
                let (min, max) = self.lengths(member, "minItems", "maxItems", path);
                let items = match member.get("items") {
                    Some(each @ Value::Array(_)) => {
                        Items::Each(self.alternatives(each, &step(path, "items"), depth + 1))
                    }
                    _ => match self.sub_schema(member, "items", path, depth + 1) {
                        Some(all) => Items::All(Box::new(all)),
                        None => Items::Any,
                    },
                };
                Shape::Array { items, min, max }
            }
            "object" => self.object(member, path, depth),
            _ => {
                self.faults.add(
                    step(path, "type"),
                    "must be boolean, integer, number, string, object, array or null",
                );
                Shape::Any
            }
        }
    }

    fn object(&mut self, member: &Map<String, Value>, path: &str, depth: usize) -> Shape {
        let base = step(path, "properties");
        let mut properties = BTreeMap::new();
        match member.get("properties") {
            None => {}
            Some(Value::Object(members)) => {
                for name in members.keys() {
                    if let Some(schema) = self.sub_schema(members, name, &base, depth + 1) {
                        properties.insert(name.clone(), schema);
                    }
                }
            }
            Some(_) => self.faults.add(base, "must be an object of data schemas by name"),
        }
        let mut required = Vec::new();
        let base = step(path, "required");
        match member.get("required") {
            None => {}
            Some(Value::Array(names)) => {
                for (index, name) in names.iter().enumerate() {
                    match name.as_str() {
                        Some(name) if properties.contains_key(name) => {
                            required.push(name.to_owned());
                        }
                        _ => self
                            .faults
                            .add(format!("{base}[{index}]"), "must name one of the properties"),
                    }
                }
            }
            Some(_) => self.faults.add(base, "must be a list of names"),
        }
        Shape::Object { properties, required }
    }

    fn range(&mut self, member: &Map<String, Value>, path: &str) -> Range {
        let range = Range {
            minimum: self.number(member, "minimum", path),
            maximum: self.number(member, "maximum", path),
            exclusive_minimum: self.number(member, "exclusiveMinimum", path),
            exclusive_maximum: self.number(member, "exclusiveMaximum", path),
            multiple_of: self.number(member, "multipleOf", path),
        };
        if let (Some(low), Some(high)) = (range.minimum, range.maximum)
            && low > high
        {
            self.faults.add(step(path, "minimum"), format!("{low} is above the maximum {high}"));
        }
        if range.multiple_of.is_some_and(|step| step <= 0.0) {
            self.faults.add(step(path, "multipleOf"), "must be above 0");
        }
        range
    }

    fn number(&mut self, member: &Map<String, Value>, name: &str, path: &str) -> Option<f64> {
        let value = member.get(name)?;
        if !value.is_number() {
            self.faults.add(step(path, name), "must be a number");
        }
        value.as_f64()
    }

    fn lengths(
        &mut self,
        member: &Map<String, Value>,
        min: &str,
        max: &str,
        path: &str,
    ) -> (u64, Option<u64>) {
        let mut length = |name: &str| {
            let value = member.get(name)?;
            if value.as_u64().is_none() {
                self.faults.add(step(path, name), "must be a whole number from 0");
            }
            value.as_u64()
        };
        let (low, high) = (length(min).unwrap_or(0), length(max));
        if high.is_some_and(|high| low > high) {
            self.faults.add(step(path, min), format!("is above {max}"));
        }
        (low, high)
    }
}
