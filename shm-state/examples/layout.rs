//! Prints `docs/shm-layout.md`.

fn main() {
    print!("{}", ringfort_shm_state::layout::document());
}
