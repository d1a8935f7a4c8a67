#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringfort_protocol::fuzzing::input_datagram(data));
