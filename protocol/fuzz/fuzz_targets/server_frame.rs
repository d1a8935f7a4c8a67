#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringfort_protocol::fuzzing::server_frame(data));
