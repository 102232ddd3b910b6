//! `policy diff`.

use std::collections::BTreeSet;
use std::path::PathBuf;

use countersign_crypto::policy::{Item, Policy};
use serde_json::{Value, json};

use super::read::read;
use crate::complete::Known;
use crate::console::{json, say};
use crate::failure::{Ended, Failure};

#[derive(Debug, clap::Args)]
pub(crate) struct DiffArgs {
    /// The older policy, TOML or signed.
    #[arg(add = Known::POLICY)]
    older: PathBuf,
    /// The newer policy, TOML or signed.
    #[arg(add = Known::POLICY)]
    newer: PathBuf,
    /// The policy key's public half, for signed policies.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// One difference.
struct Change {
    field: String,
    kind: &'static str,
    before: Value,
    after: Value,
}

pub(super) fn run(arguments: DiffArgs) -> Ended {
    let key = arguments.key.as_deref();
    let (older, newer) = (read(&arguments.older, key)?.policy, read(&arguments.newer, key)?.policy);
    let changes = changes(&older, &newer)?;
    if arguments.json {
        let changes: Vec<_> = changes
            .iter()
            .map(|change| {
                json!({ "field": change.field, "change": change.kind, "before": change.before,
                    "after": change.after })
            })
            .collect();
        let same = changes.is_empty();
        json(&json!({ "older": older.version, "newer": newer.version, "changes": changes }));
        return if same { Ok(()) } else { Err(Failure::found("")) };
    }
    if changes.is_empty() {
        say("The two policies say the same.");
        return Ok(());
    }
    let mut field = "";
    for change in &changes {
        if change.field != field {
            say(&change.field);
            field = &change.field;
        }
        say(&match change.kind {
            "added" => format!("  + {}", told(&change.after)),
            "removed" => format!("  - {}", told(&change.before)),
            "reordered" => format!("  ~ order: {} → {}", told(&change.before), told(&change.after)),
            _ => format!("  ~ {} → {}", told(&change.before), told(&change.after)),
        });
    }
    if newer.version <= older.version {
        say(&format!(
            "version {} is not higher than {}: nobody who holds the older one would accept it",
            newer.version, older.version
        ));
    }
    Err(Failure::found(""))
}

fn changes(older: &Policy, newer: &Policy) -> Ended<Vec<Change>> {
    let mut changes = Vec::new();
    let (before, after) = (scalars(older)?, scalars(newer)?);
    // The head of the policy first.
    let fields: BTreeSet<_> =
        before.keys().chain(after.keys()).map(|field| (field.contains('.'), field)).collect();
    for (_, field) in fields {
        let value =
            |of: &serde_json::Map<String, Value>| of.get(field).cloned().unwrap_or(Value::Null);
        let (before, after) = (value(&before), value(&after));
        if before != after {
            changes.push(Change { field: field.clone(), kind: "changed", before, after });
        }
    }
    let lists = |policy: &Policy| -> Vec<(String, Vec<Item>)> {
        policy.lists().map(|(list, items)| (list, items.to_vec())).collect()
    };
    let (before, after) = (lists(older), lists(newer));
    let all: BTreeSet<&String> = before.iter().chain(&after).map(|(list, _)| list).collect();
    let of = |lists: &[(String, Vec<Item>)], list: &str| {
        lists
            .iter()
            .find(|(name, _)| name == list)
            .map_or_else(Vec::new, |(_, items)| items.clone())
    };
    for list in all {
        compare(list, &of(&before, list), &of(&after, list), &mut changes);
    }
    Ok(changes)
}

/// Everything but the lists of items, by path.
fn scalars(policy: &Policy) -> Ended<serde_json::Map<String, Value>> {
    let mut flat = serde_json::Map::new();
    if let Value::Object(head) = serde_json::to_value(policy)? {
        for (key, value) in head {
            match value {
                Value::Object(uses) if key == "uses" => {
                    for (use_, rules) in uses {
                        for field in ["alpn", "tickets"] {
                            flat.insert(format!("uses.{use_}.{field}"), rules[field].clone());
                        }
                    }
                }
                Value::Object(_) => {}
                value => drop(flat.insert(key, value)),
            }
        }
    }
    Ok(flat)
}

fn compare(list: &str, before: &[Item], after: &[Item], changes: &mut Vec<Change>) {
    let mut add = |kind, before: Value, after: Value| {
        changes.push(Change { field: list.to_owned(), kind, before, after });
    };
    let find = |items: &[Item], name: &str| items.iter().find(|item| item.name == name).cloned();
    for item in before {
        match find(after, &item.name) {
            None => add("removed", json!(item), Value::Null),
            Some(other) if other != *item => add("changed", json!(item), json!(other)),
            Some(_) => {}
        }
    }
    for item in after.iter().filter(|item| find(before, &item.name).is_none()) {
        add("added", Value::Null, json!(item));
    }
    let kept = |items: &[Item], others: &[Item]| -> Vec<String> {
        let both = items.iter().filter(|item| find(others, &item.name).is_some());
        both.map(|item| item.name.clone()).collect()
    };
    let (was, is) = (kept(before, after), kept(after, before));
    if was != is {
        add("reordered", json!(was), json!(is));
    }
}

fn told(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(told).collect::<Vec<_>>().join(", "),
        Value::Object(item) => {
            let field = |name: &str| item.get(name).map(told);
            let mut text = field("name").unwrap_or_default();
            for (word, name) in [("until", "until"), ("because", "because")] {
                if let Some(value) = field(name) {
                    text += &format!(", {word} {value}");
                }
            }
            text
        }
        other => other.to_string(),
    }
}
