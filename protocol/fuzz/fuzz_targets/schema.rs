#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringfort_protocol::fuzzing::schema(data));
