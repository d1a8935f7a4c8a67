//! The README's game is the example that compiles.

#[test]
fn the_game_in_the_readme_is_the_example() {
    let readme = include_str!("../../README.md");
    let example = include_str!("../examples/dots.rs");
    assert!(readme.contains(example), "copy server/examples/dots.rs into README.md, section \"Write a game\"");
}
