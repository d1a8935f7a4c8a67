//! What may stand as a row in shared pages.

/// A value that means the same in every process of the instance: no pointer, no reference, no drop.
///
/// # Safety
/// The type is `Copy`, contains no reference or pointer, and every bit pattern that one process of this binary writes for it
/// is a valid value for another process of the same binary. Zeroed bytes are a valid value too. `#[derive(Component)]` implements it for structs whose fields
/// all are wire fields, which is exactly that set.
pub unsafe trait Plain: Copy + 'static {}

macro_rules! engine_rows {
    ($($row:ident),+) => {
        $(
            // SAFETY: integers without padding and without a pointer (zerocopy's IntoBytes holds for it), and every bit
            // pattern is a value (its FromBytes holds too).
            unsafe impl Plain for crate::layout::$row {}
        )+
    };
}
engine_rows!(ZoneMeta, EntityRow, SessionRow, SessionInput, TimerRow, EventRow);
