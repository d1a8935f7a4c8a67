//! What the compiler says to an author's mistakes. Each file in `mistakes/` is one, and the `.stderr` beside it what is said.
//!
//! The words are rustc's too, so another version may phrase them otherwise. To renew them: `TRYBUILD=overwrite cargo test -p ringfort --test
//! mistakes`, then read the difference: each sentence has to say what to do.

#[test]
fn each_mistake_is_answered_with_what_to_do() {
    trybuild::TestCases::new().compile_fail("tests/mistakes/*.rs");
}
