#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringfort_shm_state::fuzzing::inbox(data));
