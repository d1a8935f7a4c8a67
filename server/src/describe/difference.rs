//! The first thing in which two binaries differ, in words of who has to change it back.

use std::fmt::Display;

use ringfort_protocol::schema::{ColumnSchema, FieldSchema, Schema, Sync, VariantSchema};

use super::{Described, DescribedTables};

/// Why the binary that is offered cannot step the matches of the one that runs; `None` when it can.
pub fn first_difference(runs: &Described, offered: &Described) -> Option<String> {
    value("shared memory layout version", runs.layout_version, offered.layout_version)
        .or_else(|| value("shared memory layout", hex(runs.layout_hash), hex(offered.layout_hash)))
        .or_else(|| value("protocol version", runs.protocol_version, offered.protocol_version))
        .or_else(|| schema(&runs.schema, &offered.schema))
        .or_else(|| columns("private column", &runs.unlisted, &offered.unlisted))
        .or_else(|| variants("timer", &runs.timers, &offered.timers))
        .or_else(|| matches(runs, offered))
}

fn schema(runs: &Schema, offered: &Schema) -> Option<String> {
    value("game", &runs.game, &offered.game)
        .or_else(|| value("tick rate", runs.hz, offered.hz))
        .or_else(|| columns("column", &runs.columns, &offered.columns))
        .or_else(|| columns("global", &runs.globals, &offered.globals))
        .or_else(|| fields("input", &runs.input, &offered.input))
        .or_else(|| variants("command", &runs.commands, &offered.commands))
        .or_else(|| variants("event", &runs.events, &offered.events))
        .or_else(|| value("position", format!("{:?}", runs.position), format!("{:?}", offered.position)))
}

fn columns(what: &str, runs: &[ColumnSchema], offered: &[ColumnSchema]) -> Option<String> {
    let name = |column: &ColumnSchema| format!("{what} {}", column.name);
    listed(runs, offered, name, |a, b| {
        let of = |thing: &str| format!("{what} {}'s {thing}", a.name);
        value(&of("component"), &a.component, &b.component)
            .or_else(|| fields(&a.component, &a.fields, &b.fields))
            .or_else(|| value(&of("#[sync]"), sync(a.sync), sync(b.sync)))
            .or_else(|| value(&of("`once`"), a.once, b.once))
            .or_else(|| value(&of("`rate`"), a.rate, b.rate))
            .or_else(|| value(&of("bytes of a row"), a.row_bytes, b.row_bytes))
    })
}

fn variants(what: &str, runs: &[VariantSchema], offered: &[VariantSchema]) -> Option<String> {
    let name = |variant: &VariantSchema| format!("{what} {}", variant.name);
    listed(runs, offered, name, |a, b| {
        let of = |thing: &str| format!("{what} {}'s {thing}", a.name);
        fields(&a.name, &a.fields, &b.fields)
            .or_else(|| value(&of("#[reliable]"), a.reliable, b.reliable))
            .or_else(|| value(&of("#[predicted]"), a.predicted, b.predicted))
    })
}

fn fields(of: &str, runs: &[FieldSchema], offered: &[FieldSchema]) -> Option<String> {
    let name = |field: &FieldSchema| format!("field {of}.{}", field.name);
    listed(runs, offered, name, |a, b| {
        let name = name(a);
        value(&name, a.kind, b.kind)
            .or_else(|| value(&format!("{name}'s coding"), a.coding, b.coding))
            .or_else(|| value(&format!("{name}'s sync"), a.synced, b.synced))
            .or_else(|| value(&format!("{name}'s offset"), a.offset, b.offset))
    })
}

fn matches(runs: &Described, offered: &Described) -> Option<String> {
    let tables = |described: &Described, at: usize| described.matches.get(at).map(|of| (of.size, of.tables.clone()));
    (0..runs.matches.len()).find_map(|at| match (tables(runs, at), tables(offered, at)) {
        (Some((size, Ok(a))), Some((same, Ok(b)))) if size == same => rows(&a, &b),
        (Some((size, Ok(_))), Some((same, Err(error)))) if size == same => {
            Some(format!("game has no match of {} players any more: {error}", size.capacity))
        }
        // What cannot be described is not played.
        (Some((_, Err(_))), _) => None,
        (a, b) => value("answer about a match", format!("{:?}", a.map(|a| a.0)), format!("{:?}", b.map(|b| b.0))),
    })
}

fn rows(runs: &DescribedTables, offered: &DescribedTables) -> Option<String> {
    let name = |(name, ..): &(String, u32, u32)| format!("table {name}");
    listed(&runs.tables, &offered.tables, name, |a, b| {
        value(&format!("rows of table {}", a.0), a.1, b.1)
            .or_else(|| value(&format!("bytes of a row of table {}", a.0), a.2, b.2))
    })
    .or_else(|| value("hash of the tables", hex(runs.hash), hex(offered.hash)))
}

/// The first entry that is not in both lists; else the first that differs; else the first that stands elsewhere.
fn listed<T>(
    runs: &[T],
    offered: &[T],
    name: impl Fn(&T) -> String,
    differ: impl Fn(&T, &T) -> Option<String>,
) -> Option<String> {
    let find = |list: &[T], of: &T| list.iter().position(|other| name(other) == name(of));
    let removed = runs.iter().find(|a| find(offered, a).is_none()).map(|a| format!("{} is removed", name(a)));
    let added = || offered.iter().find(|b| find(runs, b).is_none()).map(|b| format!("{} is added", name(b)));
    let other = || runs.iter().find_map(|a| differ(a, &offered[find(offered, a)?]));
    let moved = || {
        let elsewhere = |(at, a): &(usize, &T)| find(offered, a) != Some(*at);
        runs.iter().enumerate().find(elsewhere).map(|(_, a)| format!("{} stands elsewhere", name(a)))
    };
    removed.or_else(added).or_else(other).or_else(moved)
}

fn value<T: PartialEq + Display>(of: &str, runs: T, offered: T) -> Option<String> {
    (runs != offered).then(|| format!("{of} is changed from {runs} to {offered}"))
}

fn hex(hash: u64) -> String {
    format!("{hash:#x}")
}

fn sync(of: Sync) -> String {
    match of {
        Sync::None => "none".to_owned(),
        Sync::All => "all".to_owned(),
        Sync::Owner => "owner".to_owned(),
        Sync::Near(distance) => format!("near = {distance}"),
    }
}
