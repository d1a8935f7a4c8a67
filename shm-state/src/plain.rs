//! What may stand as a row in shared pages.

/// A value that means the same in every process of the instance: no pointer, no reference, no drop.
///
/// # Safety
/// The type is `Copy`, contains no reference or pointer, and every bit pattern that one process of this binary writes for it
/// is a valid value for another process of the same binary. Zeroed bytes are a valid value too. `#[derive(Component)]` implements it for structs whose fields
/// all are wire fields, which is exactly that set.
pub unsafe trait Plain: Copy + 'static {}
