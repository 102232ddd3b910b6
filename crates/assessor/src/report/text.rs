//! The verdict table for a terminal.

use super::Report;
use crate::verdict::Verdict;

/// Below this width reasons would be cut to nothing.
const MIN_WIDTH: usize = 60;

/// Where the reason begins.
const INDENT: usize = 25;

pub(super) fn table(report: &Report, width: usize) -> String {
    let width = width.max(MIN_WIDTH);
    let mut out = format!(
        "{} {} ({}), {}\n{}\n\n",
        report.dut.manufacturer,
        report.dut.model,
        report.dut.serial,
        report.dut.state,
        report.edition
    );
    for case in &report.cases {
        let mut lines = wrap(&case.reason, width - INDENT).into_iter();
        let first = lines.next().unwrap_or_default();
        out.push_str(&format!("{:<9} {:<14} {first}\n", case.id, case.verdict.as_str()));
        for line in lines {
            out.push_str(&format!("{:INDENT$}{line}\n", ""));
        }
    }
    let counts: Vec<_> =
        [Verdict::Pass, Verdict::Fail, Verdict::Inconclusive, Verdict::NotApplicable]
            .into_iter()
            .map(|verdict| format!("{} {}", report.count(verdict), verdict.as_str()))
            .collect();
    out.push_str(&format!("\n{}\n", counts.join(", ")));
    out
}

/// At most three lines; the whole reason stands in the report.
fn wrap(text: &str, width: usize) -> Vec<String> {
    const LINES: usize = 3;
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.len() - 1;
        let used = lines[last].chars().count();
        if used > 0 && used + 1 + word.chars().count() > width {
            if lines.len() == LINES {
                lines[last].push('…');
                return lines;
            }
            lines.push(word.to_owned());
        } else {
            if used > 0 {
                lines[last].push(' ');
            }
            lines[last].push_str(word);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_wrapped_and_cut() {
        assert_eq!(wrap("a short one", 40), ["a short one"]);
        let long = wrap(&"word ".repeat(100), 20);
        assert_eq!(long.len(), 3);
        assert!(long[2].ends_with('…') && long.iter().all(|line| line.chars().count() <= 21));
    }
}
