//! How a worker names the counters of its segment: one list gives each word its name and its constant.

/// From `CONSTANT = "name"` pairs in the order of the words: the list `NAMES`, and a constant with each word's index.
macro_rules! words {
    ($($word:ident = $name:literal),+ $(,)?) => {
        /// Names of the counters, in the order of their words.
        pub const NAMES: &[&str] = &[$($name),+];
        const _: () = assert!(NAMES.len() <= ringfort_shm_state::limits::MAX_COUNTERS, "a worker's page has a word for each");

        /// Numbers the words as they are listed.
        #[allow(non_camel_case_types, clippy::upper_case_acronyms)]
        enum Word {
            $($word),+
        }
        $(#[doc = concat!("Index of `", $name, "`.")] pub const $word: usize = Word::$word as usize;)+
    };
}
pub(crate) use words;
