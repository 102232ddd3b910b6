//! A process as a page for people.

use std::fmt::Write as _;

use super::{Process, Rule, Scope};

pub(super) fn page(process: &Process) -> String {
    let mut page = format!(
        "# {}: {}\n\nFollows {}. This page is made from `crates/model/processes/`; a test holds that it is the same.\n",
        process.parameter.as_str(),
        process.title,
        process.references.join(", ")
    );
    for (name, phase) in &process.phase {
        let heading = name.as_str().replace('-', " ");
        let _ = write!(
            page,
            "\n## {}\n\n**{}** {}\n",
            capital(&heading),
            capital(&phase.by),
            phase.process
        );
        if phase.record.is_empty() {
            page.push_str("\nNo record is kept of it.\n");
        } else {
            page.push_str("\nRecords:\n");
        }
        for rule in &phase.record {
            let _ = writeln!(page, "- {}", line(rule));
        }
    }
    page
}

fn line(rule: &Rule) -> String {
    match rule {
        Rule::Ledger { kind, of, purpose, after_the_first, shows } => {
            let whose = match of {
                Scope::Device => "of the device",
                Scope::Fleet => "of any device or of all",
            };
            let purpose = purpose.as_ref().map(|purpose| format!(", purpose {purpose}"));
            let later = if *after_the_first { ", from the second on" } else { "" };
            format!("ledger, `{kind}` {whose}{}{later}: {shows}", purpose.unwrap_or_default())
        }
        Rule::History { what, shows } => format!("the device's record, `{what}`: {shows}"),
        Rule::Device { shows, .. } => format!("the device, when it declares itself: {shows}"),
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
