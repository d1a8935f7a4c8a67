//! `ringfort schema`: what the game consists of, out of the directory.

use ringfort_protocol::schema::{Coding, ColumnSchema, FieldSchema, Sync, VariantSchema};
use serde::Serialize;

use super::value::describe;
use super::{LookError, Paper, Shown, table};
use crate::attach::Attached;

/// What `schema` tells.
#[derive(Debug, Serialize)]
pub struct SchemaShown {
    /// The game's name.
    pub game: String,
    /// Its ticks a second, unless the configuration has others.
    pub hz: u32,
    /// The columns of entities.
    pub columns: Vec<ColumnShown>,
    /// The globals.
    pub globals: Vec<ColumnShown>,
    /// What the game keeps of each session, and its timers; `set` and `entities` do not reach them.
    pub unlisted: Vec<ColumnShown>,
    /// What a player sends every tick.
    pub input: Vec<FieldShown>,
    /// The commands.
    pub commands: Vec<VariantShown>,
    /// The events.
    pub events: Vec<VariantShown>,
    /// The field with the position of entities; null without one.
    pub position: Option<String>,
}

/// A column or a global.
#[derive(Debug, Serialize)]
pub struct ColumnShown {
    /// Its name.
    pub name: String,
    /// The component's name.
    pub component: String,
    /// Who sees it: `none`, `all`, `owner`, or `near` with the distance.
    pub sync: String,
    /// Whether clients are sent it once only.
    pub once: bool,
    /// Times a second that a change is sent at most; 0 for every tick.
    pub rate: u32,
    /// Bytes of a row in memory; 0 of a text or bytes.
    pub row_bytes: u32,
    /// Its fields.
    pub fields: Vec<FieldShown>,
}

/// A field.
#[derive(Debug, Serialize)]
pub struct FieldShown {
    /// Its name.
    pub name: String,
    /// Its type in words.
    pub kind: String,
    /// How it is packed, in words.
    pub coding: String,
    /// Bits on the wire; 0 when it is not sent.
    pub bits: u32,
    /// Where it lies in the row.
    pub offset: u32,
}

/// A command or an event.
#[derive(Debug, Serialize)]
pub struct VariantShown {
    /// Its name.
    pub name: String,
    /// Whether it is kept until the client acknowledges it.
    pub reliable: bool,
    /// Whether a client may show it before the server says it.
    pub predicted: bool,
    /// Its fields.
    pub fields: Vec<FieldShown>,
}

/// Reads the directory's schema.
pub fn schema(attached: &Attached) -> Result<SchemaShown, LookError> {
    let game = attached.game()?;
    let columns = |of: &[ColumnSchema]| of.iter().map(column).collect();
    let variants = |of: &[VariantSchema]| of.iter().map(variant).collect();
    let position = super::entities::position(&game.schema).map(|at| {
        let column = &game.schema.columns[at.column];
        super::name_of(column, &column.fields[at.field])
    });
    Ok(SchemaShown {
        game: game.schema.game.clone(),
        hz: game.schema.hz,
        columns: columns(&game.schema.columns),
        globals: columns(&game.schema.globals),
        unlisted: game.unlisted.iter().map(|of| column_of(of, |_| 0)).collect(),
        input: game.schema.input.iter().map(|of| field(of, of.wire_bits())).collect(),
        commands: variants(&game.schema.commands),
        events: variants(&game.schema.events),
        position,
    })
}

fn column(of: &ColumnSchema) -> ColumnShown {
    column_of(of, FieldSchema::wire_bits)
}

fn column_of(of: &ColumnSchema, bits: impl Fn(&FieldSchema) -> u32) -> ColumnShown {
    ColumnShown {
        name: of.name.clone(),
        component: of.component.clone(),
        sync: match of.sync {
            Sync::None => "none".to_owned(),
            Sync::All => "all".to_owned(),
            Sync::Owner => "owner".to_owned(),
            Sync::Near(distance) => format!("near {distance}"),
        },
        once: of.once,
        rate: of.rate,
        row_bytes: of.row_bytes,
        fields: of.fields.iter().map(|of| field(of, bits(of))).collect(),
    }
}

fn field(of: &FieldSchema, bits: u32) -> FieldShown {
    FieldShown {
        name: of.name.clone(),
        kind: describe(of.kind),
        coding: match of.coding {
            Coding::Raw => "raw".to_owned(),
            Coding::Range { min, max, step } => format!("{min}..{max} in steps of {step}"),
            Coding::Max(max) => format!("at most {max}"),
            Coding::Angle { bits } => format!("angle in {bits} bits"),
        },
        bits,
        offset: of.offset,
    }
}

fn variant(of: &VariantSchema) -> VariantShown {
    let fields = of.fields.iter().map(|of| field(of, of.wire_bits())).collect();
    VariantShown { name: of.name.clone(), reliable: of.reliable, predicted: of.predicted, fields }
}

impl Shown for SchemaShown {
    fn text(&self, paper: &Paper) -> String {
        let mut text = format!("game {}, {} ticks a second\n", self.game, self.hz);
        let head = ["FIELD", "TYPE", "CODING", "BITS", "SYNC"];
        let row = |name: String, field: &FieldShown, seen: String| {
            let bits = if field.bits == 0 { "not sent".to_owned() } else { field.bits.to_string() };
            vec![name, field.kind.clone(), field.coding.clone(), bits, seen]
        };
        for (title, columns) in [("columns", &self.columns), ("globals", &self.globals), ("seats and timers", &self.unlisted)] {
            let seen = |column: &ColumnShown| {
                let once = if column.once { ", once" } else { "" };
                let rate = if column.rate > 0 { format!(", {} a second", column.rate) } else { String::new() };
                format!("{}{once}{rate}", column.sync)
            };
            let rows = columns.iter().flat_map(|column| {
                column.fields.iter().map(move |field| row(format!("{}.{}", column.name, field.name), field, seen(column)))
            });
            text += &section(paper, title, &head, rows.collect());
        }
        let input = self.input.iter().map(|field| row(field.name.clone(), field, String::new()));
        text += &section(paper, "input", &head[..4], input.map(without_last).collect());
        for (title, variants) in [("commands", &self.commands), ("events", &self.events)] {
            let rows = variants.iter().flat_map(|variant| {
                let flags = [(variant.reliable, "reliable"), (variant.predicted, "predicted")];
                let flags: Vec<_> = flags.into_iter().filter(|(is, _)| *is).map(|(_, word)| word).collect();
                let nothing = vec![variant.name.clone(), String::new(), String::new(), String::new(), flags.join(", ")];
                let of_field = |field: &FieldShown| row(format!("{}.{}", variant.name, field.name), field, flags.join(", "));
                if variant.fields.is_empty() { vec![nothing] } else { variant.fields.iter().map(of_field).collect() }
            });
            text += &section(paper, title, &["FIELD", "TYPE", "CODING", "BITS", "HOW"], rows.collect());
        }
        text
    }
}

fn without_last(mut row: Vec<String>) -> Vec<String> {
    row.pop();
    row
}

fn section(paper: &Paper, title: &str, head: &[&str], rows: Vec<Vec<String>>) -> String {
    if rows.is_empty() { String::new() } else { format!("\n{title}\n{}", table(paper, head, rows)) }
}
