//! Data schemas: the shape of values, and the check of a value against it.

use super::format::{Format, Pattern};
use serde_json::{Number, Value};
use std::collections::BTreeMap;

/// Why a value does not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct ValueError {
    /// Where in the value, as a JSON path.
    pub path: String,
    /// What is wrong with it.
    pub reason: String,
}

/// The shape of a value (WoT Thing Description 1.1, section 5.3.2).
#[derive(Debug, Clone, PartialEq)]
pub struct DataSchema {
    pub(super) shape: Shape,
    pub(super) unit: Option<String>,
    pub(super) read_only: bool,
    pub(super) write_only: bool,
    pub(super) constant: Option<Value>,
    pub(super) one_of: Vec<DataSchema>,
    pub(super) enumeration: Vec<Value>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Shape {
    Any,
    Null,
    Boolean,
    Number { whole: bool, range: Range },
    String { min: u64, max: Option<u64>, pattern: Option<Pattern>, format: Option<Format> },
    Array { items: Items, min: u64, max: Option<u64> },
    Object { properties: BTreeMap<String, DataSchema>, required: Vec<String> },
}

/// What the items of a list are.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Items {
    Any,
    /// All of one shape.
    All(Box<DataSchema>),
    /// Each of its own; more are refused.
    Each(Vec<DataSchema>),
}

/// The bounds of a number.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Range {
    pub(super) minimum: Option<f64>,
    pub(super) maximum: Option<f64>,
    pub(super) exclusive_minimum: Option<f64>,
    pub(super) exclusive_maximum: Option<f64>,
    pub(super) multiple_of: Option<f64>,
}

impl DataSchema {
    /// The unit of measurement, as the maker wrote it (`W`, `degC`).
    #[must_use]
    pub fn unit(&self) -> Option<&str> {
        self.unit.as_deref()
    }

    /// The JSON type's name, or `any`.
    #[must_use]
    pub const fn type_name(&self) -> &'static str {
        match &self.shape {
            Shape::Any => "any",
            Shape::Null => "null",
            Shape::Boolean => "boolean",
            Shape::Number { whole: true, .. } => "integer",
            Shape::Number { whole: false, .. } => "number",
            Shape::String { .. } => "string",
            Shape::Array { .. } => "array",
            Shape::Object { .. } => "object",
        }
    }

    /// Checks a value. A member that an object's schema does not name is refused: what nobody described, nobody checks.
    ///
    /// # Errors
    /// The first place where the value does not fit.
    pub fn validate(&self, value: &Value) -> Result<(), ValueError> {
        self.check(value, &mut "$".to_owned())
    }

    fn check(&self, value: &Value, path: &mut String) -> Result<(), ValueError> {
        let fail = |path: &str, reason: String| Err(ValueError { path: path.to_owned(), reason });
        if let Some(constant) = &self.constant
            && !same(constant, value)
        {
            return fail(path, format!("is not {constant}"));
        }
        if !self.enumeration.is_empty() && !self.enumeration.iter().any(|one| same(one, value)) {
            return fail(path, "is none of the values of the enumeration".to_owned());
        }
        if !self.one_of.is_empty() {
            let fitting = self.one_of.iter().filter(|one| one.check(value, path).is_ok()).count();
            if fitting != 1 {
                return fail(path, format!("fits {fitting} of the alternatives, must fit one"));
            }
        }
        match (&self.shape, value) {
            (Shape::Any, _) | (Shape::Null, Value::Null) | (Shape::Boolean, Value::Bool(_)) => {
                Ok(())
            }
            (Shape::Number { whole, range }, Value::Number(number)) => {
                let number = number.as_f64().unwrap_or(f64::NAN);
                if *whole && number.fract() != 0.0 {
                    return fail(path, format!("{number} is not a whole number"));
                }
                range.check(number).or_else(|reason| fail(path, reason))
            }
            (Shape::String { min, max, pattern, format }, Value::String(text)) => {
                let length = text.chars().count() as u64;
                in_bounds(length, *min, *max, "characters").or_else(|reason| fail(path, reason))?;
                if let Some(pattern) = pattern.as_ref().filter(|pattern| !pattern.matches(text)) {
                    return fail(path, format!("does not match {}", pattern.text()));
                }
                match format.filter(|format| !format.fits(text)) {
                    Some(format) => fail(path, format!("is no {}", format.word())),
                    None => Ok(()),
                }
            }
            (Shape::Array { items, min, max }, Value::Array(list)) => {
                in_bounds(list.len() as u64, *min, *max, "items")
                    .or_else(|reason| fail(path, reason))?;
                if let Items::Each(each) = items
                    && list.len() > each.len()
                {
                    return fail(path, format!("has more than the {} items described", each.len()));
                }
                list.iter().enumerate().try_for_each(|(index, item)| {
                    let schema = match items {
                        Items::Any => return Ok(()),
                        Items::All(all) => all,
                        Items::Each(each) => &each[index],
                    };
                    within(path, &format!("[{index}]"), |path| schema.check(item, path))
                })
            }
            (Shape::Object { properties, required }, Value::Object(map)) => {
                if let Some(missing) = required.iter().find(|name| !map.contains_key(*name)) {
                    return fail(path, format!("lacks the member {missing:?}"));
                }
                if properties.is_empty() {
                    return Ok(());
                }
                map.iter().try_for_each(|(name, member)| match properties.get(name) {
                    Some(schema) => {
                        within(path, &format!(".{name}"), |path| schema.check(member, path))
                    }
                    None => fail(path, format!("has a member {name:?} that is not described")),
                })
            }
            _ => fail(path, format!("is not of type {}", self.type_name())),
        }
    }
}

/// Whether two values are the same; numbers by what they amount to, so that 1.0 is 1 (JSON Schema core, section 4.2.3).
pub(super) fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => {
            one == other || (!both_whole(one, other) && one.as_f64() == other.as_f64())
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(name, one)| other.get(name).is_some_and(|it| same(one, it)))
        }
        _ => one == other,
    }
}

/// Large whole numbers differ although they are the same as floating-point numbers.
fn both_whole(one: &Number, other: &Number) -> bool {
    !one.is_f64() && !other.is_f64()
}

impl Range {
    fn check(&self, number: f64) -> Result<(), String> {
        let broken = |limit: Option<f64>, bad: fn(f64, f64) -> bool| {
            limit.filter(|limit| number.is_nan() || bad(number, *limit))
        };
        if let Some(limit) = broken(self.minimum, |n, l| n < l) {
            return Err(format!("{number} is below the minimum {limit}"));
        }
        if let Some(limit) = broken(self.maximum, |n, l| n > l) {
            return Err(format!("{number} is above the maximum {limit}"));
        }
        if let Some(limit) = broken(self.exclusive_minimum, |n, l| n <= l) {
            return Err(format!("{number} is not above {limit}"));
        }
        if let Some(limit) = broken(self.exclusive_maximum, |n, l| n >= l) {
            return Err(format!("{number} is not below {limit}"));
        }
        if let Some(step) = broken(self.multiple_of, |n, l| !is_multiple(n, l)) {
            return Err(format!("{number} is not a multiple of {step}"));
        }
        Ok(())
    }
}

/// Whether `number / step` is whole, allowing for the rounding of one division: 0.3 is a multiple of 0.1.
fn is_multiple(number: f64, step: f64) -> bool {
    let quotient = number / step;
    (quotient - quotient.round()).abs() <= f64::EPSILON * quotient.abs().max(1.0)
}

fn in_bounds(length: u64, min: u64, max: Option<u64>, what: &str) -> Result<(), String> {
    if length < min {
        return Err(format!("has {length} {what}, fewer than {min}"));
    }
    match max {
        Some(max) if length > max => Err(format!("has {length} {what}, more than {max}")),
        _ => Ok(()),
    }
}

fn within<T>(path: &mut String, step: &str, work: impl FnOnce(&mut String) -> T) -> T {
    let length = path.len();
    path.push_str(step);
    let result = work(path);
    path.truncate(length);
    result
}
