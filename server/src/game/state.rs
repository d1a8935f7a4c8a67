//! The state struct: its fields declare themselves to the schema and bind themselves to a zone's memory, in order.

/// What the attributes of a field of the state struct say.
#[derive(Clone, Copy, Debug)]
pub struct FieldOptions {
    /// The field's name, which is the column's name.
    pub name: &'static str,
    /// Who may see it; `Sync::None` unless `#[sync(..)]` says otherwise.
    pub sync: crate::protocol::schema::Sync,
    /// Weight of the field's changes when a datagram has no room for all.
    pub priority: f32,
}

/// Implemented by `#[derive(State)]` alone.
pub trait State: Sized + 'static {
    /// The struct's name.
    const NAME: &'static str;
    /// Calls [`StateField::declare`] of every field, in order.
    fn declare(to: &mut Declare);
    /// Calls [`StateField::bind`] of every field, in order.
    fn bind(to: &mut Binder) -> Self;
}

/// A type that may be a field of a state struct.
pub trait StateField: Sized {
    /// Adds the field to the schema and to the zone's layout.
    fn declare(to: &mut Declare, options: FieldOptions);
    /// Takes the field's memory in a zone.
    fn bind(to: &mut Binder) -> Self;
}

/// Collects the declarations.
pub struct Declare {}
/// Hands out memory.
pub struct Binder {}
