//! What lies in a logical page, by name: for whoever has to tell an author about it.

use ringfort_shm_state::table::TableAt;

use ringfort_protocol::schema::ColumnSchema;

use super::Description;

/// What lies in a logical page.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Whereabouts<'d> {
    /// The field of the state struct, or the engine's table.
    pub(crate) name: &'d str,
    /// Whether it is the game's own.
    pub(crate) is_game: bool,
    /// The rows; nothing when the page holds the content of texts and bytes.
    pub(crate) rows: Option<TableAt>,
    /// What the rows are, if the schema knows.
    pub(crate) schema: Option<&'d ColumnSchema>,
    /// Whether there is but one row.
    pub(crate) is_global: bool,
}

impl Description {
    /// What lies in a logical page.
    pub(crate) fn whereabouts(&self, logical: u32) -> Whereabouts<'_> {
        let engine = |name, rows| Whereabouts { name, is_game: false, rows, schema: None, is_global: false };
        for place in &self.places {
            let Some(at) = place.at else { continue };
            let of_game = Whereabouts { is_game: true, ..engine(place.name, Some(at)) };
            if at.contains(logical) {
                let column = self.columns.iter().position(|column| column.base == at.base);
                let global = self.globals.iter().position(|global| global.base == at.base);
                let schema = column.map(|i| &self.schema.columns[i]).or(global.map(|i| &self.schema.globals[i]));
                return Whereabouts { schema, is_global: global.is_some(), ..of_game };
            }
            if place.blobs.is_some_and(|blobs| blobs.logical_pages().contains(&logical)) {
                return Whereabouts { rows: None, ..of_game };
            }
        }
        let tables = &self.engine;
        let named = [
            ("counters of the match", tables.meta),
            ("entities", tables.entities),
            ("sessions", tables.sessions),
            ("inputs", tables.inputs),
            ("reliable events", tables.events),
            ("events", tables.cues),
        ];
        let found = named.into_iter().find(|(_, at)| at.contains(logical));
        found.map_or(engine("requests", None), |(name, at)| engine(name, Some(at)))
    }
}
