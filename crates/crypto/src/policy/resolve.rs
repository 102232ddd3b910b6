//! From the items of a list to what the provider has under those names.

use countersign_model::time::Day;

use super::{CompileError, Item, Policy};

/// Most items of one list: several times what the provider offers.
const MAX_ITEMS: usize = 64;
/// Longest reason for an item, in characters: two lines.
const MAX_BECAUSE: usize = 240;

/// The policy that is being compiled, the day, and what was found wrong with it so far.
pub(super) struct Findings<'a> {
    pub(super) policy: &'a Policy,
    pub(super) day: Day,
    pub(super) errors: Vec<CompileError>,
}

impl Findings<'_> {
    pub(super) fn add(&mut self, path: &str, fault: impl Into<String>, mend: impl Into<String>) {
        self.push(path, None, fault.into(), mend.into());
    }

    fn push(&mut self, path: &str, item: Option<&Item>, fault: String, mend: String) {
        self.errors.push(CompileError {
            path: path.to_owned(),
            line: self.policy.line(path),
            item: item.map(|item| item.name.clone()),
            fault,
            statement: None,
            mend,
        });
    }

    /// What `known` has under the names of the items that are offered on the day, in their order.
    //= specs/house.md#house-policy
    //# An item of a policy MUST NOT be offered after the day until which it is allowed.
    pub(super) fn resolve<T>(
        &mut self,
        path: &str,
        items: &[Item],
        known: &'static [T],
        name_of: impl Fn(&T) -> &'static str,
    ) -> Vec<&'static T> {
        let mut found: Vec<&'static T> = Vec::new();
        let day = self.day;
        for (index, item) in items.iter().enumerate().filter(|(_, item)| item.offered_on(day)) {
            let path = format!("{path}[{index}]");
            self.reason(&path, item);
            let Some(entry) = known.iter().find(|entry| name_of(entry) == item.name) else {
                let all = known.iter().map(&name_of).collect::<Vec<_>>().join(", ");
                let all = if all.is_empty() {
                    "none: leave the list out".to_owned()
                } else {
                    format!("one of {all}")
                };
                let fault = "is not offered by the provider".to_owned();
                self.push(&path, Some(item), fault, format!("use {all}"));
                continue;
            };
            if found.iter().any(|earlier| name_of(earlier) == name_of(entry)) {
                self.push(&path, Some(item), "stands twice".to_owned(), "remove one".to_owned());
            } else {
                found.push(entry);
            }
        }
        found
    }

    /// A list that must offer something on the day.
    pub(super) fn some(&mut self, path: &str, items: &[Item]) {
        if items.is_empty() {
            self.add(path, "is empty", "name at least one, most preferred first");
        } else if let Some(last) = ended(items, self.day) {
            //= specs/house.md#house-policy
            //# A use that is left without any item MUST be an error that names the day since when.
            let until = last.until.unwrap_or(self.day);
            let fault = format!(
                "offers nothing since {}: its last item, {:?}, was allowed until {until}",
                until.next(),
                last.name
            );
            self.add(path, fault, "add a successor");
        }
    }

    /// A list that is longer than anybody needs.
    pub(super) fn bounded(&mut self, path: &str, items: &[Item]) {
        if items.len() > MAX_ITEMS {
            let fault = format!("has {} items, over {MAX_ITEMS}", items.len());
            self.add(path, fault, "name each item once");
        }
    }

    fn reason(&mut self, path: &str, item: &Item) {
        let Some(because) = &item.because else { return };
        let length = because.chars().count();
        if because.trim().is_empty()
            || length > MAX_BECAUSE
            || because.chars().any(char::is_control)
        {
            let fault = "gives no reason in `because` that could be shown".to_owned();
            let mend = format!("write 1 to {MAX_BECAUSE} printable characters, or leave it out");
            self.push(path, Some(item), fault, mend);
        }
    }
}

/// The item that ended last, when all have ended.
fn ended(items: &[Item], day: Day) -> Option<&Item> {
    let all = items.iter().all(|item| !item.offered_on(day));
    items.iter().filter(|_| all).max_by_key(|item| item.until)
}
