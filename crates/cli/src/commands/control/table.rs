//! Lists for people. Whoever is no terminal gets the JSON that machines get.

use std::io::IsTerminal as _;

use countersign_controller::PairedThing;
use serde_json::Value;

use crate::console::say;

/// Whether a person looks.
pub(crate) fn wanted(json: bool) -> bool {
    !json && std::io::stdout().is_terminal()
}

/// The devices of a home.
pub(crate) fn things(things: &[PairedThing]) {
    if things.is_empty() {
        return say("nothing is paired yet: countersign control pair --help");
    }
    let rows = things
        .iter()
        .map(|one| [one.thing.to_string(), one.address.to_string(), one.paired_at.to_rfc3339()]);
    print(&[["THING".into(), "LAST AT".into(), "PAIRED".into()]], rows);
}

/// One value, or all of them, with title and unit.
pub(crate) fn values(name: Option<&str>, value: &Value, description: &Value) {
    match (name, value.as_object()) {
        (None, Some(all)) => {
            print(&[], all.iter().map(|(name, value)| row(name, value, description)))
        }
        (name, _) => {
            let name = name.unwrap_or_default();
            let [_, _, title] = row(name, &Value::Null, description);
            let unit = &description["properties"][name]["unit"];
            print(&[], [[plain(name), plain(&with_unit(&value.to_string(), unit)), title]]);
        }
    }
}

/// A property among others: what has parts would fill the screen, and is left to who asks for it by name.
fn row(name: &str, value: &Value, description: &Value) -> [String; 3] {
    let about = &description["properties"][name];
    let short = match value {
        Value::Array(parts) => format!("({} entries)", parts.len()),
        Value::Object(_) => "(see it by name)".to_owned(),
        value => with_unit(&value.to_string(), &about["unit"]),
    };
    [name, &short, about["title"].as_str().unwrap_or_default()].map(plain)
}

fn with_unit(value: &str, unit: &Value) -> String {
    format!("{value} {}", unit.as_str().unwrap_or_default()).trim_end().to_owned()
}

/// What a device says, without what would steer a terminal: the device may be somebody else's.
fn plain(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).collect()
}

/// Columns as wide as their widest cell.
fn print(head: &[[String; 3]], rows: impl IntoIterator<Item = [String; 3]>) {
    let rows: Vec<[String; 3]> = head.iter().cloned().chain(rows).collect();
    for line in lines(&rows) {
        say(&line);
    }
}

fn lines(rows: &[[String; 3]]) -> Vec<String> {
    let width = |column: usize| {
        rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default()
    };
    let (first, second) = (width(0), width(1));
    let line = |row: &[String; 3]| {
        let [a, b, c] = row;
        format!("{a:<first$}  {b:<second$}  {c}").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_does_not_steer_the_terminal_and_long_values_stay_out_of_the_way() {
        let title = "Relay\u{1b}]0;owned\u{7}";
        let description = serde_json::json!({ "properties": { "relay": { "title": title } } });
        let [_, value, title] = row("relay", &serde_json::json!(["a", "b"]), &description);
        assert_eq!((value.as_str(), title.as_str()), ("(2 entries)", "Relay]0;owned"));
        let [_, value, _] = row("power", &serde_json::json!("\u{1b}[31m"), &description);
        assert!(!value.contains('\u{1b}'), "{value:?}");
    }

    #[test]
    fn columns_stand_below_each_other() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned);
        let rows = [row(["relay", "true", "Relay"]), row(["maxPower", "3680 W", ""])];
        assert_eq!(lines(&rows), ["relay     true    Relay", "maxPower  3680 W"]);
    }
}
