//! `countersign authority alarms`: what must not happen and did.

use std::io::IsTerminal as _;
use std::path::Path;

use countersign_authority::alarm::AlarmRecord;
use serde_json::json;

use super::open;
use crate::console::{json as print_json, say};
use crate::failure::{Ended, Failure};

pub(super) async fn run(data: &Path, as_json: bool) -> Ended {
    let all = open(data).await?.alarms().await?;
    if as_json {
        print_json(&json!({ "alarms": all }));
    } else {
        alarm_lines(&all, std::io::stdout().is_terminal()).iter().for_each(|line| say(line));
    }
    if all.is_empty() { Ok(()) } else { Err(Failure::found(format!("{} alarm(s)", all.len()))) }
}

/// A line for each alarm. Somebody who looks is told when there is none; whatever counts lines gets none.
fn alarm_lines(all: &[AlarmRecord], seen: bool) -> Vec<String> {
    if all.is_empty() && seen {
        return vec!["no alarms".to_owned()];
    }
    let line = |one: &AlarmRecord| {
        let (last, times) = (one.last_at.to_rfc3339(), one.count);
        format!("{last}  {:16} {}  {}  ({times} times)", one.kind, one.subject, one.evidence)
    };
    all.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn somebody_who_looks_is_told_that_there_are_no_alarms() {
        assert_eq!(alarm_lines(&[], true), ["no alarms"]);
        assert!(alarm_lines(&[], false).is_empty(), "whatever counts lines");
    }
}
