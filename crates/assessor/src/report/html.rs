//! The page for people.

use super::Report;
use crate::verdict::{CaseVerdict, Finding, Unit, Verdict};
use maud::{DOCTYPE, Markup, PreEscaped, html};

const STYLE: &str = include_str!("style.css");

pub(super) fn page(report: &Report) -> String {
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; base-uri 'none'; form-action 'none'",
        Report::html_hash(STYLE)
    );
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="referrer" content="no-referrer";
                title { "Assessment of " (report.dut.model) " " (report.dut.serial) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    (head(report))
                    h2 { "Verdicts" }
                    (contents(report))
                    h2 { "Test cases" }
                    @for case in &report.cases { (test_case(case)) }
                    (rest(report))
                }
            }
        }
    };
    markup.into_string()
}

fn class(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::NotApplicable => "NA",
        other => other.as_str(),
    }
}

fn badge(verdict: Verdict) -> Markup {
    html! { span class={ "v " (class(verdict)) } { (verdict.as_str()) } }
}

fn head(report: &Report) -> Markup {
    let dut = &report.dut;
    html! {
        p class="soft small" { "Conformance assessment, EN 303 645 clause 5.5 “Communicate securely”" }
        h1 { (dut.manufacturer) " " (dut.model) }
        div class="tiles" {
            @for verdict in [Verdict::Pass, Verdict::Fail, Verdict::Inconclusive, Verdict::NotApplicable] {
                div class={ "tile " (class(verdict)) } { b { (report.count(verdict)) } (verdict.as_str()) }
            }
        }
        dl {
            dt { "Serial" } dd { (dut.serial) }
            dt { "Versions" } dd { "hardware " (dut.hardware_version) ", software " (dut.software_version) }
            dt { "State" } dd { (dut.state) }
            dt { "Address" } dd { (report.target) }
            dt { "Assessed" } dd { (report.at) " by " (report.made_by) }
            dt { "Editions" } dd { (report.edition) }
            dt { "Catalogue" } dd { (report.profile) }
            dt { "Declaration" } dd { code { "SHA-256 " (report.declaration_sha256) } }
            dt { "Evidence" } dd { code { "SHA-256 " (report.bundle_sha256) } }
        }
        p class="soft small" {
            "A test case has the worst verdict of its units, and a unit that of its findings: FAIL, then INCONCLUSIVE, then PASS. "
            "INCONCLUSIVE means that it is not known; the reason says what is missing. Nothing passes by not having been seen."
        }
    }
}

fn contents(report: &Report) -> Markup {
    html! {
        ol class="toc" {
            @for case in &report.cases {
                li { a href={ "#tc-" (case.id) } {
                    span class="id" { (case.id) }
                    span { (case.title) }
                    (badge(case.verdict))
                } }
            }
        }
    }
}

fn test_case(case: &CaseVerdict) -> Markup {
    html! {
        section class="case" id={ "tc-" (case.id) } {
            header {
                h3 { "TC " (case.id) " · " (case.title) }
                (badge(case.verdict))
            }
            p class="soft small" { (case.reason) }
            @for unit in &case.units { (test_unit(unit)) }
        }
    }
}

fn test_unit(unit: &Unit) -> Markup {
    html! {
        // What failed is read first; the rest opens on demand.
        details open[unit.verdict == Verdict::Fail] {
            summary {
                span { b { (unit.id) } " " (unit.asks) }
                (badge(unit.verdict))
            }
            @for finding in &unit.findings { (row(finding)) }
        }
    }
}

fn row(finding: &Finding) -> Markup {
    html! {
        div class={ "finding f" (class(finding.verdict)) } {
            div { span class="subject" { (finding.subject) } " " (badge(finding.verdict)) }
            p { (finding.reason) }
            @if let Some(expected) = &finding.expected {
                p class="small" { span class="soft" { "expected: " } (expected) }
            }
            @if let Some(observed) = finding.observed.as_ref().filter(|text| !text.is_empty()) {
                p class="small" { span class="soft" { "observed: " } (observed) }
            }
            @if !finding.evidence.is_empty() {
                p class="small soft" {
                    "evidence: "
                    @for (index, id) in finding.evidence.iter().enumerate() {
                        @if index > 0 { ", " }
                        a href={ "#" (id) } { (id) }
                    }
                }
            }
        }
    }
}

fn rest(report: &Report) -> Markup {
    html! {
        h2 { "Evidence" }
        p class="soft small" { "The facts stand in evidence.json; from that file this report can be made again, byte for byte." }
        div class="wide" { table {
            thead { tr { th { "Id" } th { "Probe" } th { "About" } th { "SHA-256" } } }
            tbody {
                @for item in &report.evidence {
                    tr id=(item.id) {
                        td { (item.id) } td { (item.probe) } td { (item.subject) }
                        td { code title=(item.sha256) { (item.sha256.get(..16).unwrap_or_default()) "…" } }
                    }
                }
            }
        } }
        @if !report.not_run.is_empty() {
            h2 { "Not run" }
            ul { @for line in &report.not_run { li { (line) } } }
        }
    }
}
