//! What may stand as a row in shared pages.

/// A value that means the same in every process of the instance: no pointer, no reference, no drop.
///
/// Rows may have padding: it is zeroed before a commit ([`Table::for_touched`](crate::table::Table::for_touched)), so that at
/// commit no undefined byte is left in a page. Otherwise whatever lay on the stack would reach other processes, and a page would
/// count as changed because of bytes that mean nothing.
///
/// # Safety
/// The type is `Copy`, contains no reference or pointer, and every bit pattern that one process of this binary writes for it
/// is a valid value for another process of the same binary. Zeroed bytes are a valid value too. [`Plain::PADDING`] lies within
/// the type and names bytes that belong to no field; a type with padding that it does not name breaks the promise above.
/// `#[derive(Component)]` implements it for structs whose fields all are wire fields, which is exactly that set.
pub unsafe trait Plain: Copy + 'static {
    /// Bytes that belong to no field: offset and length of each gap, in order. Empty unless the type says otherwise.
    const PADDING: &'static [(usize, usize)] = &[];
}

/// Zeroes the bytes of a row that belong to no field.
#[inline]
pub fn clear_padding<T: Plain>(row: &mut T) {
    let row = std::ptr::from_mut(row).cast::<u8>();
    for (offset, bytes) in T::PADDING {
        // SAFETY: the gap lies within the row and belongs to no field (contract of `Plain`), so the row stays a valid value,
        // and `&mut` makes this the only access.
        unsafe { std::ptr::write_bytes(row.add(*offset), 0, *bytes) };
    }
}

/// The gaps between `N` fields, worked out by the compiler for [`Plain::PADDING`].
#[derive(Clone, Copy, Debug)]
pub struct Gaps<const N: usize> {
    gaps: [(usize, usize); N],
    len: usize,
}

impl<const N: usize> Gaps<N> {
    /// The gaps of a type of so many bytes whose fields, in any order, have these offsets and sizes. There are at most as many as
    /// fields, since some field lies at the very start.
    ///
    /// # Panics
    /// When fields overlap, reach beyond the type or leave its start empty: they are then not the type's fields.
    pub const fn between(bytes: usize, fields: [(usize, usize); N]) -> Self {
        let fields = sorted(fields);
        let mut found = Self { gaps: [(0, 0); N], len: 0 };
        let (mut end, mut next) = (0, 0);
        while next <= N {
            let start = if next < N { fields[next].0 } else { bytes };
            assert!(start >= end && (next > 0 || start == 0), "these are all fields of the type");
            if start > end {
                found.gaps[found.len] = (end, start - end);
                found.len += 1;
            }
            end = if next < N { start + fields[next].1 } else { bytes };
            next += 1;
        }
        found
    }

    /// Offset and length of each gap, in order.
    pub const fn as_slice(&self) -> &[(usize, usize)] {
        self.gaps.split_at(self.len).0
    }
}

/// By insertion: the sorts of the standard library do not run in the compiler.
const fn sorted<const N: usize>(mut fields: [(usize, usize); N]) -> [(usize, usize); N] {
    let mut i = 1;
    while i < N {
        let mut j = i;
        while j > 0 && fields[j - 1].0 > fields[j].0 {
            (fields[j - 1], fields[j]) = (fields[j], fields[j - 1]);
            j -= 1;
        }
        i += 1;
    }
    fields
}

macro_rules! engine_rows {
    ($($row:ident),+) => {
        $(
            // SAFETY: integers without padding and without a pointer (zerocopy's IntoBytes holds for it), and every bit
            // pattern is a value (its FromBytes holds too).
            unsafe impl Plain for crate::layout::$row {}
        )+
    };
}
engine_rows!(
    ZoneMeta,
    ZoneLife,
    RefusalRow,
    KickedRow,
    EntityRow,
    SessionRow,
    SessionInput,
    SessionVerdict,
    SessionRejected,
    TimerRow,
    EventRow,
    BlobMeta,
    BlobRow,
    BlobPageRow,
    OutboxMeta,
    AskRow
);
