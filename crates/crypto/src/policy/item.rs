//! One entry of a policy's list: a registered name, until when it is offered, and why it stands there at all.

use std::fmt;

use countersign_model::time::Day;
use serde::de::{self, MapAccess, Visitor, value::MapAccessDeserializer};
use serde::ser::SerializeStruct as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An entry: in TOML a name, or `{ name = "…", until = "2031-12-31", because = "…" }`.
#[derive(Clone, PartialEq, Eq)]
pub struct Item {
    /// The registered name.
    pub name: String,
    /// The last day on which it is offered; none: as long as the policy.
    pub until: Option<Day>,
    /// Why it stands here although the policy's profile does not list it.
    pub because: Option<String>,
}

impl Item {
    /// Whether it is offered on `day`.
    #[must_use]
    pub fn offered_on(&self, day: Day) -> bool {
        self.until.is_none_or(|until| day <= until)
    }
}

impl From<&str> for Item {
    fn from(name: &str) -> Self {
        Self { name: name.to_owned(), until: None, because: None }
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl fmt::Debug for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.name)?;
        if let Some(until) = self.until {
            write!(f, " until {until}")?;
        }
        if let Some(because) = &self.because {
            write!(f, " because {because:?}")?;
        }
        Ok(())
    }
}

impl PartialEq<str> for Item {
    fn eq(&self, name: &str) -> bool {
        self.name == name
    }
}

impl PartialEq<&str> for Item {
    fn eq(&self, name: &&str) -> bool {
        self.name == *name
    }
}

impl Serialize for Item {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.until.is_none() && self.because.is_none() {
            return serializer.serialize_str(&self.name);
        }
        let fields = 1 + usize::from(self.until.is_some()) + usize::from(self.because.is_some());
        let mut table = serializer.serialize_struct("Item", fields)?;
        table.serialize_field("name", &self.name)?;
        if let Some(until) = &self.until {
            table.serialize_field("until", until)?;
        }
        if let Some(because) = &self.because {
            table.serialize_field("because", because)?;
        }
        table.end()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    name: String,
    until: Option<Day>,
    because: Option<String>,
}

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NameOrTable)
    }
}

struct NameOrTable;

impl<'de> Visitor<'de> for NameOrTable {
    type Value = Item;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name, or a table such as { name = \"…\", until = \"2031-12-31\" }")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Item, E> {
        Ok(Item::from(name))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Item, A::Error> {
        let Table { name, until, because } = Table::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Item { name, until, because })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[derive(Debug, Serialize, Deserialize)]
    struct List {
        items: Vec<Item>,
    }

    fn read(text: &str) -> Result<Vec<Item>, String> {
        toml::from_str::<List>(text).map(|list| list.items).map_err(|error| error.to_string())
    }

    #[test]
    fn a_name_and_a_table_are_both_read_and_written() {
        let text = "items = [\"a\", { name = \"b\", until = \"2031-12-31\", because = \"c\" }]\n";
        let items = read(text).unwrap();
        assert_eq!(items[0], Item::from("a"));
        assert_eq!((items[1].until, items[1].because.as_deref()), (Day::end_of(2031), Some("c")));
        assert_eq!(read(&toml::to_string(&List { items: items.clone() }).unwrap()).unwrap(), items);
        let json = serde_json::to_value(&items).unwrap();
        assert_eq!(serde_json::from_value::<Vec<Item>>(json).unwrap(), items);
    }

    #[test]
    fn until_is_the_last_day() {
        let item = Item { until: Day::end_of(2031), ..Item::from("a") };
        assert!(item.offered_on(Day::end_of(2031).unwrap()));
        assert!(!item.offered_on(Day::new(2032, 1, 1).unwrap()));
    }

    #[test]
    fn wrong_tables_say_what_is_wrong() {
        for (text, says) in [
            ("items = [7]", "a name, or a table"),
            ("items = [{ name = \"a\", unitl = \"2031-12-31\" }]", "unitl"),
            ("items = [{ until = \"2031-12-31\" }]", "name"),
            ("items = [{ name = \"a\", until = \"31.12.2031\" }]", "year-month-day"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(says) && error.contains("line 1"), "{error}");
        }
    }
}
