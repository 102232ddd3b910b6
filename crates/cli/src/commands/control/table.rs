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
    let row = |name: &str, value: &Value| {
        let about = &description["properties"][name];
        let unit = about["unit"].as_str().unwrap_or_default();
        let title = about["title"].as_str().unwrap_or_default();
        [name.to_owned(), format!("{value} {unit}").trim_end().to_owned(), title.to_owned()]
    };
    match (name, value.as_object()) {
        (None, Some(all)) => print(&[], all.iter().map(|(name, value)| row(name, value))),
        (name, _) => print(&[], [row(name.unwrap_or_default(), value)]),
    }
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
    fn columns_stand_below_each_other() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned);
        let rows = [row(["relay", "true", "Relay"]), row(["maxPower", "3680 W", ""])];
        assert_eq!(lines(&rows), ["relay     true    Relay", "maxPower  3680 W"]);
    }
}
