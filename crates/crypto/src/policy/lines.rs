//! Where in the text each field of a policy stands, so that an error can name the line.

use std::collections::BTreeMap;

use toml::de::{DeTable, DeValue};

/// Line, counted from one, by a field's path such as `uses.pairing.groups[1]`. Empty for a policy that was not read
/// from text. It says nothing about the policy: two that differ in nothing else are equal.
#[derive(Debug, Clone, Default)]
pub(super) struct Lines(BTreeMap<String, usize>);

impl PartialEq for Lines {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Lines {}

impl Lines {
    /// Of a text that is known to be TOML; any other has no lines.
    pub(super) fn of(text: &str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at);
        let mut walk = Walk { ends: ends.collect(), lines: BTreeMap::new() };
        if let Ok(table) = DeTable::parse(text) {
            walk.table("", table.get_ref());
        }
        Self(walk.lines)
    }

    /// The line of a field, or of the nearest one above it that has a line.
    pub(super) fn get(&self, path: &str) -> Option<usize> {
        let mut path = path;
        loop {
            if let Some(line) = self.0.get(path) {
                return Some(*line);
            }
            path = &path[..path.rfind(['.', '['])?];
        }
    }
}

struct Walk {
    /// Where each line ends.
    ends: Vec<usize>,
    lines: BTreeMap<String, usize>,
}

impl Walk {
    fn table(&mut self, above: &str, table: &DeTable<'_>) {
        for (key, value) in table {
            let path = match above {
                "" => key.get_ref().to_string(),
                above => format!("{above}.{}", key.get_ref()),
            };
            self.put(&path, key.span().start);
            self.value(&path, value.get_ref());
        }
    }

    fn value(&mut self, path: &str, value: &DeValue<'_>) {
        match value {
            DeValue::Table(table) => self.table(path, table),
            DeValue::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    let path = format!("{path}[{index}]");
                    self.put(&path, item.span().start);
                    self.value(&path, item.get_ref());
                }
            }
            _ => {}
        }
    }

    fn put(&mut self, path: &str, at: usize) {
        let line = 1 + self.ends.partition_point(|end| *end < at);
        self.lines.insert(path.to_owned(), line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_has_its_line() {
        let text = "version = 1\n\n[uses.pairing]\ngroups = [\n  \"a\",\n  { name = \"b\" },\n]\n";
        let lines = Lines::of(text);
        for (path, line) in [
            ("version", 1),
            ("uses.pairing", 3),
            ("uses.pairing.groups", 4),
            ("uses.pairing.groups[0]", 5),
            ("uses.pairing.groups[1]", 6),
            ("uses.pairing.groups[1].name", 6),
            ("uses.pairing.suites", 3),
        ] {
            assert_eq!(lines.get(path), Some(line), "{path}");
        }
        assert_eq!(lines.get("storage"), None);
        assert_eq!(Lines::of("not toml").get("version"), None);
    }
}
