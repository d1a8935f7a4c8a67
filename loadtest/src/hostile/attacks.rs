//! The list of attacks: each with what the server is expected to do about it.

use ringfort_protocol::control::Code;

use super::HostileError;
use super::peer::{Attacker, Outcome};
use super::{control, datagrams, handshakes, packets};

/// One way to break the rules.
pub(crate) struct Attack {
    /// Its name on the command line.
    pub(crate) name: &'static str,
    /// What it is about: the module that it stands in.
    pub(crate) about: &'static str,
    /// How its connection ends.
    pub(crate) ends: Outcome,
    /// A counter of `ringfort status` that it makes grow.
    pub(crate) counter: &'static str,
    pub(super) run: fn(&mut Attacker) -> Result<Outcome, HostileError>,
}

const BAD: Outcome = Outcome::Closed(Code::BadMessage);
const FLOODING: Outcome = Outcome::Closed(Code::Flooding);
const TIMED_OUT: Outcome = Outcome::Closed(Code::TimedOut);
const OPEN: Outcome = Outcome::Open;

macro_rules! attacks {
    ($($module:ident :: $function:ident, $ends:expr, $counter:literal;)*) => {
        /// All attacks. Their names are those of their functions.
        pub(crate) const ATTACKS: &[Attack] = &[
            $(Attack { name: stringify!($function), about: stringify!($module), ends: $ends, counter: $counter, run: $module::$function },)*
        ];
    };
}

attacks! {
    control::random_frames, BAD, "fe_bad_messages";
    control::oversized_frame, BAD, "fe_control_bad";
    control::truncated_frame, Outcome::Closed(Code::Left), "fe_udp_in";
    control::join_before_hello, BAD, "fe_bad_messages";
    control::command_before_hello, Outcome::Closed(Code::NotJoined), "fe_bad_messages";
    control::second_hello, BAD, "fe_bad_messages";
    control::second_join, BAD, "fe_bad_messages";
    control::leave_twice, OPEN, "fe_joins";
    control::event_ack_flood, FLOODING, "fe_floods";
    control::command_flood, FLOODING, "fe_floods";
    control::leave_flood, FLOODING, "fe_floods";
    control::join_flood, FLOODING, "fe_floods";
    control::join_churn, OPEN, "fe_joins_limited";
    control::forged_event_acks, OPEN, "fe_acks_forged";
    control::never_reads, FLOODING, "fe_backlog_overflows";
    control::hello_byte_by_byte, TIMED_OUT, "fe_overdue";
    control::hello_never, TIMED_OUT, "fe_overdue";
    control::stream_taken_back, BAD, "fe_control_bad";
    control::stream_stopped, BAD, "fe_control_bad";
    control::more_streams, OPEN, "fe_joins";
    control::goes_away, Outcome::None, "fe_joins";
    datagrams::forged_acks, BAD, "fe_acks_forged";
    datagrams::stale_acks, OPEN, "fe_joins";
    datagrams::another_stay, OPEN, "fe_datagrams_stale";
    datagrams::sequence_jumps, OPEN, "fe_inputs";
    datagrams::sequence_zero, BAD, "fe_bad_datagrams";
    datagrams::too_many_inputs, OPEN, "sim_inputs_over_credit";
    datagrams::datagram_flood, FLOODING, "fe_packets_limited";
    datagrams::impossible_lengths, BAD, "fe_bad_datagrams";
    datagrams::random_datagram, BAD, "fe_bad_datagrams";
    packets::random_packets, Outcome::None, "fe_udp_in";
    packets::packets_of_no_connection, Outcome::None, "fe_answers";
    packets::unknown_versions, Outcome::None, "fe_answers";
    packets::oversized_packets, Outcome::None, "fe_udp_truncated";
    packets::replayed_packets, OPEN, "fe_udp_in";
    packets::bent_packets, OPEN, "fe_udp_in";
    handshakes::handshake_flood, Outcome::None, "fe_handshakes_retried";
    handshakes::handshakes_left, Outcome::None, "fe_overdue";
    handshakes::bent_handshakes, Outcome::None, "fe_udp_in";
}
