//! What one subject did in one round.

use serde::Serialize;
use serde_json::Value;

/// Share of the expected datagrams that must arrive for a subject to have kept up.
const KEPT_UP_SHARE: f64 = 0.95;

/// The figures of one subject in one round. `None` is what cannot be measured of it.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Sample {
    /// Processor time of all its processes, by client and tick.
    pub(crate) us_per_client_tick: f64,
    /// The same as a share of one core.
    pub(crate) cpu_percent: f64,
    /// Mean bytes of payload of a datagram, or of a WebSocket message, to a client.
    pub(crate) down_bytes: f64,
    /// Payload to each client, in thousands of bytes a second.
    pub(crate) down_kb_per_s: f64,
    /// Datagrams or messages that came down, as a share of one per client and tick.
    pub(crate) delivered: f64,
    /// From the sending of an input to the arrival of what answers it, without its wait for the tick: the median, in milliseconds.
    pub(crate) network_ms_p50: Option<f64>,
    /// The same at the 99th percentile.
    pub(crate) network_ms_p99: Option<f64>,
    /// UDP packets that the server sends for each datagram to a client.
    pub(crate) packets_out: Option<f64>,
    /// UDP packets that come to the server for each datagram of a client.
    pub(crate) packets_in: Option<f64>,
    /// Resident bytes of all its processes by client, shared pages once.
    pub(crate) pss_bytes_per_client: f64,
    /// The same with shared pages as often as they are mapped.
    pub(crate) rss_bytes_per_client: f64,
    /// How old the positions are that clients hold, in ticks.
    pub(crate) freshness: Option<Freshness>,
    /// What carries its messages, where there is a choice.
    pub(crate) transport: Option<String>,
    /// Use of one core by the load; of several processes the highest.
    pub(crate) generator_cpu_percent: f64,
    /// How late the load's own datagrams left, at the 99th percentile, in milliseconds.
    pub(crate) generator_late_ms_p99: f64,
}

/// How old the positions are that clients hold, in ticks of the server.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Freshness {
    /// Of the nearest 32 entities: the median.
    pub(crate) near_ticks_p50: f64,
    /// At the 99th percentile.
    pub(crate) near_ticks_p99: f64,
    /// Of all within the radius: the median.
    pub(crate) all_ticks_p50: f64,
    /// At the 99th percentile.
    pub(crate) all_ticks_p99: f64,
    /// Entities within the radius, on average.
    pub(crate) within_sight: f64,
    /// Of those, the share that clients do not have, where the world can be looked into.
    pub(crate) missing_percent: Option<f64>,
}

impl Sample {
    /// Whether the subject delivered what it should; if not, its cost is that of doing less.
    pub(crate) fn kept_up(&self) -> bool {
        self.delivered >= KEPT_UP_SHARE
    }

    /// As JSON, with the verdict.
    pub(crate) fn json(&self) -> Value {
        let mut json = serde_json::to_value(self).unwrap_or_default();
        json["kept_up"] = self.kept_up().into();
        json
    }
}
