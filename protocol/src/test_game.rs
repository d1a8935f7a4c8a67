//! A small game for this crate's tests, written out as the derives would, and a random source with a seed.

use crate::bits::{BitReader, BitWriter};
use crate::component::{Component, DecodeError, Field};
use crate::schema::{Coding, ColumnSchema, FieldKind, FieldSchema, Schema, Sync, VariantSchema};
use crate::{Entity, Vec2};

/// SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

pub(crate) fn field(name: &str, offset: u32, kind: FieldKind, coding: Coding) -> FieldSchema {
    FieldSchema { name: name.to_owned(), offset, kind, coding, synced: true }
}

macro_rules! component {
    ($name:ident { $($field:ident: $type:ty = $coding:expr),* }) => {
        #[derive(Clone, Copy, PartialEq, Debug, Default)]
        #[repr(C)]
        pub(crate) struct $name {
            $(pub(crate) $field: $type),*
        }

        impl Component for $name {
            const NAME: &'static str = stringify!($name);

            fn fields() -> Vec<FieldSchema> {
                vec![$(field(
                    stringify!($field),
                    std::mem::offset_of!($name, $field) as u32,
                    <$type as Field>::KIND,
                    $coding,
                )),*]
            }

            fn encode(&self, _to: &mut BitWriter) {
                $(self.$field.encode($coding, _to);)*
            }

            fn decode(_from: &mut BitReader<'_>) -> Result<$name, DecodeError> {
                Ok($name { $($field: Field::decode($coding, _from)?),* })
            }

            fn quantise(&mut self) {
                $(self.$field.quantise($coding);)*
            }
        }
    };
}

pub(crate) const PLACE: Coding = Coding::Range { min: -256.0, max: 256.0, step: 0.01 };
pub(crate) const AIM: Coding = Coding::Angle { bits: 10 };

component!(Body { pos: Vec2 = PLACE, aim: f32 = AIM });
component!(Health { hp: u8 = Coding::Max(100) });
component!(Wide { a: u64 = Coding::Raw, b: u64 = Coding::Raw, c: Entity = Coding::Raw, d: bool = Coding::Raw });
component!(Tag {});
component!(Clock { ends: u32 = Coding::Raw });

fn column<T: Component>(name: &str, sync: Sync) -> ColumnSchema {
    ColumnSchema {
        name: name.to_owned(),
        component: T::NAME.to_owned(),
        sync,
        once: false,
        rate: 0,
        row_bytes: size_of::<T>() as u32,
        fields: T::fields(),
    }
}

/// A column of texts or bytes.
pub(crate) fn blobs(name: &str, kind: FieldKind) -> ColumnSchema {
    let fields = vec![field("content", 0, kind, Coding::Raw)];
    ColumnSchema { row_bytes: 0, fields, component: "Blob".to_owned(), ..column::<Tag>(name, Sync::All) }
}

/// A server-only column stands in between, so that schema and wire positions differ.
pub(crate) fn schema() -> Schema {
    let columns = vec![
        column::<Body>("body", Sync::Near(80.0)),
        column::<Clock>("secret", Sync::None),
        column::<Health>("hp", Sync::All),
        column::<Wide>("wide", Sync::Owner),
        column::<Tag>("tag", Sync::All),
        blobs("name", FieldKind::Text { max: 20 }),
    ];
    let shot = vec![
        field("by", 0, FieldKind::Entity, Coding::Raw),
        field("at", 0, FieldKind::Vec2, PLACE),
        field("aim", 0, FieldKind::F32, AIM),
    ];
    let variant = |name: &str, reliable, fields: Vec<_>| {
        // The shot names who fires it.
        let predicted = !fields.is_empty();
        VariantSchema { name: name.to_owned(), reliable, predicted, fields }
    };
    Schema {
        game: "Test".to_owned(),
        hz: 60,
        position: Schema::find_position(&columns),
        columns,
        globals: vec![column::<Clock>("clock", Sync::All), column::<Clock>("score", Sync::All)],
        input: vec![
            field("wish", 0, FieldKind::Vec2, Coding::Range { min: -1.0, max: 1.0, step: 0.0625 }),
            field("aim", 8, FieldKind::F32, AIM),
            field("fire", 12, FieldKind::Press, Coding::Raw),
        ],
        commands: vec![variant("Suicide", false, Vec::new())],
        events: vec![variant("Shot", false, shot), variant("Over", true, Vec::new())],
    }
}
