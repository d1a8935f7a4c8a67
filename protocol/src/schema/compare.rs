//! Comparing two schemas: a hash that both ends compute alike, and the first difference in words.

use std::fmt;

use super::{Coding, ColumnSchema, FieldKind, FieldSchema, Schema, Sync, VariantSchema};
use crate::bits::bits_for;

/// FNV-1a over the description of everything that is synced.
pub(super) fn hash(schema: &Schema) -> u64 {
    let mut hash = Fnv(0xcbf2_9ce4_8422_2325);
    hash.text(&schema.game);
    for list in [&schema.columns, &schema.globals] {
        for column in synced(list) {
            hash.text(&column.name);
            hash.text(&column.component);
            hash.text(sync_name(column.sync));
            hash.fields(&column.fields);
        }
        hash.text("");
    }
    hash.fields(&schema.input);
    for list in [&schema.commands, &schema.events] {
        for variant in list {
            hash.text(&variant.name);
            hash.text(delivery(variant));
            hash.fields(&variant.fields);
        }
        hash.text("");
    }
    hash.0
}

struct Fnv(u64);

impl Fnv {
    fn text(&mut self, text: &str) {
        // The length goes first, so that two neighbouring texts can't trade letters.
        for byte in (text.len() as u32).to_le_bytes().into_iter().chain(text.bytes()) {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    fn fields(&mut self, fields: &[FieldSchema]) {
        for field in sent(fields) {
            self.text(&field.name);
            self.text(&field.kind.to_string());
            self.text(&field.coding.to_string());
        }
        self.text("");
    }
}

pub(super) fn first_difference(ours: &Schema, theirs: &Schema) -> Option<String> {
    if ours.game != theirs.game {
        return Some(format!("game: {} here, {} there", ours.game, theirs.game));
    }
    columns("column", &ours.columns, &theirs.columns)
        .or_else(|| columns("global", &ours.globals, &theirs.globals))
        .or_else(|| fields("input", &ours.input, &theirs.input))
        .or_else(|| variants("command", &ours.commands, &theirs.commands))
        .or_else(|| variants("event", &ours.events, &theirs.events))
}

fn columns(what: &str, ours: &[ColumnSchema], theirs: &[ColumnSchema]) -> Option<String> {
    pairs(synced(ours), synced(theirs)).find_map(|(ours, theirs)| {
        let (Some(a), Some(b)) = (ours, theirs) else {
            return Some(missing(what, ours.map(|column| &*column.name), theirs.map(|column| &*column.name)));
        };
        differ(what, "", &a.name, &b.name)
            .or_else(|| differ(&a.name, "component ", &a.component, &b.component))
            .or_else(|| differ(&a.name, "seen by ", sync_name(a.sync), sync_name(b.sync)))
            .or_else(|| fields(&a.component, &a.fields, &b.fields))
    })
}

fn variants(what: &str, ours: &[VariantSchema], theirs: &[VariantSchema]) -> Option<String> {
    pairs(ours.iter(), theirs.iter()).find_map(|(ours, theirs)| {
        let (Some(a), Some(b)) = (ours, theirs) else {
            return Some(missing(what, ours.map(|variant| &*variant.name), theirs.map(|variant| &*variant.name)));
        };
        differ(what, "", &a.name, &b.name)
            .or_else(|| differ(&a.name, "", delivery(a), delivery(b)))
            .or_else(|| fields(&a.name, &a.fields, &b.fields))
    })
}

fn fields(of: &str, ours: &[FieldSchema], theirs: &[FieldSchema]) -> Option<String> {
    pairs(sent(ours), sent(theirs)).find_map(|(ours, theirs)| {
        let (Some(a), Some(b)) = (ours, theirs) else {
            return Some(missing(of, ours.map(|field| &*field.name), theirs.map(|field| &*field.name)));
        };
        let name = format!("{of}.{}", a.name);
        differ(of, "field ", &a.name, &b.name)
            .or_else(|| differ(&name, "", &a.kind.to_string(), &b.kind.to_string()))
            .or_else(|| differ(&name, "", &a.coding.to_string(), &b.coding.to_string()))
    })
}

fn differ(of: &str, prefix: &str, ours: &str, theirs: &str) -> Option<String> {
    (ours != theirs).then(|| format!("{of}: {prefix}{ours} here, {theirs} there"))
}

fn missing(of: &str, ours: Option<&str>, theirs: Option<&str>) -> String {
    format!("{of}: {} here, {} there", ours.unwrap_or("no more"), theirs.unwrap_or("no more"))
}

/// Both sequences side by side, up to the end of the longer one.
fn pairs<T>(mut a: impl Iterator<Item = T>, mut b: impl Iterator<Item = T>) -> impl Iterator<Item = (Option<T>, Option<T>)> {
    std::iter::from_fn(move || match (a.next(), b.next()) {
        (None, None) => None,
        pair => Some(pair),
    })
}

fn synced(columns: &[ColumnSchema]) -> impl Iterator<Item = &ColumnSchema> {
    columns.iter().filter(|column| column.sync != Sync::None)
}

fn sent(fields: &[FieldSchema]) -> impl Iterator<Item = &FieldSchema> {
    fields.iter().filter(|field| field.synced)
}

fn sync_name(sync: Sync) -> &'static str {
    match sync {
        Sync::None => "none",
        Sync::All => "all",
        Sync::Owner => "owner",
        Sync::Near(_) => "near",
    }
}

fn delivery(variant: &VariantSchema) -> &'static str {
    match (variant.reliable, variant.predicted) {
        (false, false) => "unreliable",
        (true, false) => "reliable",
        (false, true) => "unreliable and predicted",
        (true, true) => "reliable and predicted",
    }
}

impl fmt::Display for FieldKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FieldKind::Enum { variants } => write!(f, "enum of {variants}"),
            FieldKind::Text { max } => write!(f, "text of at most {max} bytes"),
            FieldKind::Bytes { max } => write!(f, "at most {max} bytes"),
            kind => f.write_str(&format!("{kind:?}").to_lowercase()),
        }
    }
}

impl fmt::Display for Coding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Coding::Raw => f.write_str("raw"),
            Coding::Range { min, max, step } => write!(f, "{min}..={max} in steps of {step}"),
            Coding::Max(max) => write!(f, "at most {max} in {} bits", bits_for(max.saturating_add(1))),
            Coding::Angle { bits } => write!(f, "angle in {bits} bits"),
        }
    }
}
