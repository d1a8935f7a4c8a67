//! The list of attacks: each with what the server is expected to do about it.

use ringfort_protocol::control::Code;

use super::HostileError;
use super::peer::{Attacker, Outcome};
use super::{connections, control, datagrams, handshakes, packets};

/// One way to break the rules.
pub(crate) struct Attack {
    /// Its name on the command line.
    pub(crate) name: &'static str,
    /// What it is about: the module that it stands in.
    pub(crate) about: &'static str,
    /// How its connection ends.
    pub(crate) ends: Outcome,
    /// A counter of `ringfort status` that grows with it and without it does not; empty when nothing of it reaches the server.
    pub(crate) counter: &'static str,
    pub(super) run: fn(&mut Attacker) -> Result<Outcome, HostileError>,
}

const BAD: Outcome = Outcome::Closed(Code::BadMessage);
const FLOODING: Outcome = Outcome::Closed(Code::Flooding);
const TIMED_OUT: Outcome = Outcome::Closed(Code::TimedOut);
const OPEN: Outcome = Outcome::Open;

/// No attack: what counts attacks must not count this.
pub(super) const WELL_BEHAVED: Attack =
    Attack { name: "well_behaved", about: "none", ends: Outcome::None, counter: "", run: datagrams::well_behaved };

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
    control::truncated_frame, Outcome::Closed(Code::Left), "fe_frames_cut";
    control::join_before_hello, BAD, "fe_bad_messages";
    control::command_before_hello, Outcome::Closed(Code::NotJoined), "fe_bad_messages";
    control::second_hello, BAD, "fe_bad_messages";
    control::second_join, BAD, "fe_bad_messages";
    control::leave_twice, OPEN, "fe_leaves_late";
    control::event_ack_flood, FLOODING, "fe_floods";
    control::command_flood, FLOODING, "fe_floods";
    control::leave_flood, FLOODING, "fe_floods";
    control::join_flood, FLOODING, "fe_floods";
    control::command_burst, OPEN, "fe_commands_limited";
    control::join_and_leave, OPEN, "fe_joins_limited";
    control::join_churn, OPEN, "fe_joins_limited";
    control::forged_event_acks, OPEN, "fe_acks_forged";
    control::never_reads, FLOODING, "fe_backlog_overflows";
    control::hello_byte_by_byte, TIMED_OUT, "fe_overdue";
    control::hello_never, TIMED_OUT, "fe_overdue";
    control::stream_taken_back, BAD, "fe_control_bad";
    control::stream_stopped, BAD, "fe_control_bad";
    control::more_streams, OPEN, "";
    control::goes_away, Outcome::None, "fe_connections_lost";
    datagrams::forged_acks, BAD, "fe_acks_forged";
    datagrams::stale_acks, OPEN, "fe_acks_stale";
    datagrams::another_stay, OPEN, "fe_datagrams_stale";
    datagrams::sequence_jumps, OPEN, "fe_inputs_late";
    datagrams::sequence_zero, BAD, "fe_bad_datagrams";
    datagrams::too_many_inputs, OPEN, "sim_inputs_over_credit";
    datagrams::datagram_flood, FLOODING, "fe_packets_limited";
    datagrams::impossible_lengths, BAD, "fe_bad_datagrams";
    datagrams::random_datagram, BAD, "fe_bad_datagrams";
    packets::random_packets, Outcome::None, "fe_packets_unusable";
    packets::packets_by_the_id_of_another, OPEN, "fe_packets_limited";
    packets::packets_without_end, Outcome::None, "fe_strangers_limited";
    packets::packets_of_no_connection, Outcome::None, "fe_answers";
    packets::unknown_versions, Outcome::None, "fe_answers";
    packets::oversized_packets, Outcome::None, "fe_udp_truncated";
    packets::replayed_packets, OPEN, "fe_packets_unusable";
    packets::bent_packets, OPEN, "fe_packets_unusable";
    handshakes::handshake_flood, Outcome::None, "fe_handshakes_retried";
    handshakes::handshakes_proven, Outcome::None, "fe_handshakes_limited";
    handshakes::handshakes_left, Outcome::None, "fe_overdue";
    connections::many_connections, Outcome::Refused, "fe_addresses_full";
    handshakes::bent_handshakes, Outcome::None, "fe_packets_unusable";
}
