//! The names against their document and against the rules of OpenMetrics.

use super::families::Kind;
use super::*;

/// The rows of the document: name, kind, unit.
fn documented() -> Vec<(String, String, String)> {
    let text = include_str!("../../../docs/metrics.md");
    let rows = text.lines().filter(|line| line.starts_with("| `ringfort_"));
    let cell = |cells: &[&str], n: usize| cells.get(n).map_or("", |cell| cell.trim()).trim_matches('`').to_owned();
    rows.map(|row| {
        let cells: Vec<&str> = row.split('|').collect();
        (cell(&cells, 1), cell(&cells, 2), cell(&cells, 3))
    })
    .collect()
}

#[test]
fn the_document_names_every_metric_and_no_other() {
    let printed: Vec<(String, String, String)> =
        all_families().into_iter().map(|family| (family.name, family.kind.name().to_owned(), family.unit.to_owned())).collect();
    for row in &printed {
        assert!(documented().contains(row), "docs/metrics.md has no row of {row:?}; write one:\n{}", rows());
    }
    for row in documented() {
        assert!(printed.contains(&row), "docs/metrics.md has {row:?}, which is not printed");
    }
}

/// The rows that the document should have, for whoever mends it.
fn rows() -> String {
    let row = |family: Family| format!("| `{}` | {} | {} | {} |\n", family.name, family.kind.name(), family.unit, family.help);
    all_families().into_iter().map(row).collect()
}

#[test]
fn names_keep_the_rules_of_openmetrics() {
    let families = all_families();
    for Family { name, kind, unit, help } in &families {
        assert!(name.starts_with("ringfort_") && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'));
        assert!(["_total", "_info", "_bucket", "_count", "_sum", "_created"].iter().all(|end| !name.ends_with(end)), "{name}");
        assert!(unit.is_empty() || name.ends_with(&format!("_{unit}")), "{name} ends in its unit {unit}");
        assert!(*kind != Kind::Info || unit.is_empty());
        assert!(help.ends_with('.'), "{name}");
    }
    let names: std::collections::BTreeSet<&str> = families.iter().map(|family| family.name.as_str()).collect();
    assert_eq!(names.len(), families.len(), "each name is one metric's");
}

#[test]
fn a_page_is_escaped_and_ends() {
    let mut page = Page::default();
    let family = Fixed::MatchSessions.family();
    page.family(&family);
    page.sample(&family, &[("instance", "a"), ("match", "x\"y\\z\n")], Value::Whole(3));
    assert_eq!(
        page.end(),
        "# TYPE ringfort_match_sessions gauge\n# HELP ringfort_match_sessions Sessions of players in the match.\n\
         ringfort_match_sessions{instance=\"a\",match=\"x\\\"y\\\\z?\"} 3\n# EOF\n"
    );
}
