//! Names of fields as they are typed, `column.field`, looked up in the schema. A name that is wrong is answered with those that there are.

use ringfort_protocol::schema::{ColumnSchema, FieldKind, FieldSchema, Schema};

/// A name that the game does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Neither a column nor, where those are meant, a global.
    #[error("there is no {what} {asked}; the game has: {there}")]
    NoColumn {
        /// A column, or a global.
        what: &'static str,
        /// What was asked for.
        asked: String,
        /// What there is.
        there: String,
    },
    /// The column has other fields.
    #[error("there is no field {asked}; {what} {column} has: {there}")]
    NoField {
        /// A column, or a global.
        what: &'static str,
        /// What was asked for.
        asked: String,
        /// The column.
        column: String,
        /// Its fields.
        there: String,
    },
    /// The column has more than one field.
    #[error("{asked} has several fields: {there}; name one of them")]
    Several {
        /// What was asked for.
        asked: String,
        /// Its fields.
        there: String,
    },
}

/// Columns, or globals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Among {
    /// Columns of entities.
    Columns,
    /// Globals of the match.
    Globals,
}

/// A field by its place in the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldAt {
    /// Index of the column, or of the global.
    pub column: usize,
    /// Index of the field in it.
    pub field: usize,
    /// Of a vector, which half: 0 for `.x`, 1 for `.y`.
    pub half: Option<usize>,
}

impl Among {
    /// The columns, or the globals.
    pub fn of(self, schema: &Schema) -> &[ColumnSchema] {
        match self {
            Self::Columns => &schema.columns,
            Self::Globals => &schema.globals,
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Columns => "column",
            Self::Globals => "global",
        }
    }

    /// A column by its name.
    pub fn column(self, schema: &Schema, name: &str) -> Result<usize, NameError> {
        let all = self.of(schema);
        all.iter().position(|column| column.name == name).ok_or_else(|| NameError::NoColumn {
            what: self.word(),
            asked: name.to_owned(),
            there: listed(all.iter().map(|column| column.name.as_str())),
        })
    }

    /// A field by its name, `column.field`; of a column with one field, such as a text, that is named by the column alone, too. Of a vector
    /// a half, `column.field.x`.
    pub fn field(self, schema: &Schema, name: &str) -> Result<FieldAt, NameError> {
        let (column_name, rest) = name.split_once('.').map_or((name, None), |(column, rest)| (column, Some(rest)));
        let column = self.column(schema, column_name)?;
        let fields = &self.of(schema)[column].fields;
        let there = || listed(fields.iter().map(|field| field.name.as_str()));
        let Some(rest) = rest else {
            return match fields.len() {
                1 => Ok(FieldAt { column, field: 0, half: None }),
                _ => {
                    let there = listed(fields.iter().map(|field| format!("{column_name}.{}", field.name)));
                    Err(NameError::Several { asked: name.to_owned(), there })
                }
            };
        };
        if let Some(field) = fields.iter().position(|field| field.name == rest) {
            return Ok(FieldAt { column, field, half: None });
        }
        // A vector's half; of a column with one field also by the column alone.
        let (field_name, half) = rest.rsplit_once('.').unwrap_or(("", rest));
        let half = ["x", "y"].iter().position(|axis| *axis == half);
        let is_meant = |field: &&FieldSchema| {
            field.kind == FieldKind::Vec2 && (field.name == field_name || (field_name.is_empty() && fields.len() == 1))
        };
        let field = fields.iter().position(|field| is_meant(&field)).filter(|_| half.is_some());
        let field = field.ok_or_else(|| NameError::NoField {
            what: self.word(),
            asked: name.to_owned(),
            column: column_name.to_owned(),
            there: there(),
        })?;
        Ok(FieldAt { column, field, half })
    }
}

/// Names in a row, with commas.
pub fn listed(names: impl Iterator<Item = impl AsRef<str>>) -> String {
    let names: Vec<_> = names.map(|name| name.as_ref().to_owned()).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// What every entity has, whatever its game's columns are called.
pub const BUILT_IN: [&str; 3] = [OWNER, "index", "alive"];
/// Who has an entity, as a field.
pub const OWNER: &str = "owner";

/// A field's name, as it is typed and shown: of a text or bytes that of its column alone, unless that is called as what every entity has.
pub fn name_of(column: &ColumnSchema, field: &FieldSchema) -> String {
    let is_short = column.blob().is_some() && !BUILT_IN.contains(&column.name.as_str());
    if is_short { column.name.clone() } else { format!("{}.{}", column.name, field.name) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::game::GameMap;
    use crate::skirmish::Skirmish;

    #[test]
    fn a_text_that_is_called_as_what_every_entity_has_is_named_in_full() {
        let mut schema = GameMap::of::<Skirmish>().schema;
        let text = schema.columns.iter().position(|column| column.name == "name").expect("players have names");
        assert_eq!(name_of(&schema.columns[text], &schema.columns[text].fields[0]), "name");
        for built_in in BUILT_IN {
            schema.columns[text].name = built_in.to_owned();
            let name = name_of(&schema.columns[text], &schema.columns[text].fields[0]);
            assert_eq!(name, format!("{built_in}.value"));
            assert_eq!(Among::Columns.field(&schema, &name).unwrap(), FieldAt { column: text, field: 0, half: None });
        }
    }

    #[test]
    fn names_are_found_and_wrong_ones_are_answered_with_those_that_there_are() {
        let schema = GameMap::of::<Skirmish>().schema;
        let find = |name: &str| Among::Columns.field(&schema, name);
        assert_eq!(find("hp.hp").unwrap(), FieldAt { column: 1, field: 0, half: None });
        assert_eq!(find("hp").unwrap(), FieldAt { column: 1, field: 0, half: None });
        assert_eq!(find("body.aim").unwrap(), FieldAt { column: 0, field: 2, half: None });
        assert_eq!(find("body.pos.y").unwrap(), FieldAt { column: 0, field: 0, half: Some(1) });
        assert_eq!(find("name").unwrap(), FieldAt { column: 4, field: 0, half: None });
        assert_eq!(Among::Globals.field(&schema, "game.phase").unwrap().field, 3);
        for (name, sentence) in [
            ("hp.hq", "there is no field hp.hq; column hp has: hp"),
            ("hq", "there is no column hq; the game has: body, hp, gun, score, name"),
            ("body", "body has several fields: body.pos, body.vel, body.aim; name one of them"),
            ("body.aim.x", "there is no field body.aim.x; column body has: pos, vel, aim"),
            ("", "there is no column ; the game has: body, hp, gun, score, name"),
        ] {
            assert_eq!(find(name).unwrap_err().to_string(), sentence);
        }
        let wrong = Among::Globals.field(&schema, "hp.hp").unwrap_err();
        assert_eq!(wrong.to_string(), "there is no global hp; the game has: game");
    }
}
