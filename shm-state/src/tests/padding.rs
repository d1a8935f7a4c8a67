//! Padding of rows, found by the compiler. That it is zero at commit is what the columns' state machine checks.

use crate::plain::Gaps;

#[test]
fn gaps_are_what_no_field_covers() {
    assert_eq!(Gaps::between(12, [(8, 2), (0, 1), (4, 4)]).as_slice(), [(1, 3), (10, 2)]);
    assert!(Gaps::between(8, [(4, 4), (0, 4)]).as_slice().is_empty());
    assert_eq!(Gaps::between(16, [(0, 1)]).as_slice(), [(1, 15)]);
    assert_eq!(Gaps::between(24, [(16, 1), (8, 8), (0, 2), (2, 4)]).as_slice(), [(6, 2), (17, 7)]);
}

#[test]
#[should_panic(expected = "fields of the type")]
fn fields_that_overlap_are_refused() {
    Gaps::between(8, [(0, 4), (2, 4)]);
}
