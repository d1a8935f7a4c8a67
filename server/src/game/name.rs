//! Names that the engine gives and a game may keep in its rows: of a timer, of a request.

/// Makes a name that is one word, and has a `NONE`, a field of components. Clients have no use for it: its place is behind
/// `#[sync(none)]` or in a seat.
macro_rules! is_a_field {
    ($name:ident) => {
        impl ringfort_protocol::Field for $name {
            const KIND: ringfort_protocol::schema::FieldKind = ringfort_protocol::schema::FieldKind::U64;

            fn encode(&self, coding: ringfort_protocol::schema::Coding, to: &mut ringfort_protocol::bits::BitWriter) {
                ringfort_protocol::Field::encode(&self.0, coding, to);
            }

            fn decode(
                coding: ringfort_protocol::schema::Coding,
                from: &mut ringfort_protocol::bits::BitReader<'_>,
            ) -> Result<Self, ringfort_protocol::DecodeError> {
                <u64 as ringfort_protocol::Field>::decode(coding, from).map(Self)
            }

            fn quantise(&mut self, coding: ringfort_protocol::schema::Coding) {
                ringfort_protocol::Field::quantise(&mut self.0, coding);
            }

            fn unsynced() -> Self {
                Self::NONE
            }
        }
    };
}
pub(super) use is_a_field;
