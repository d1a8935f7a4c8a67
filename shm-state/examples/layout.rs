//! Prints `docs/shm-layout.md`.

fn main() {
    print!("{}", ringfort_shm_state::document::document());
}
