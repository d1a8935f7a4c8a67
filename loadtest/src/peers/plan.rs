//! What every subject of a run is driven by: the same clients, rates and times.

use std::time::Duration;

use crate::limits;
use crate::run::Scenario;

/// One sample's load.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Clients.
    pub(crate) clients: usize,
    /// Ticks a second.
    pub(crate) hz: u32,
    /// Inputs a second and client.
    pub(crate) rate: u32,
    /// Seconds between the last connect and the window.
    pub(crate) settle: f64,
    /// Seconds of the measured window.
    pub(crate) seconds: f64,
}

impl Plan {
    /// Half a side of the square that a battle of all clients takes, in metres.
    pub(crate) fn half(&self) -> f32 {
        Scenario::Battle.home(self.clients)
    }

    /// Between the last connect and the window.
    pub(crate) fn settle(&self) -> Duration {
        Duration::from_secs_f64(self.settle)
    }

    /// The measured window.
    pub(crate) fn window(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }

    /// How long the load runs: it ends after the window, so that the window sees nothing but steady load.
    pub(crate) fn load_seconds(&self) -> f64 {
        self.settle + self.seconds + 0.5
    }

    /// How long all clients may take to connect.
    pub(crate) fn connect_patience(&self) -> Duration {
        limits::CONNECT_PATIENCE + 2 * Duration::from_secs_f64(self.clients as f64 / limits::CONNECTS_PER_SECOND)
    }

    /// How long a load may take to report after all have connected.
    pub(crate) fn report_patience(&self) -> Duration {
        Duration::from_secs_f64(self.load_seconds()) + limits::GRACE + limits::CONNECT_PATIENCE
    }

    /// Datagrams a second that a subject owes its clients.
    pub(crate) fn answers_per_second(&self) -> f64 {
        self.clients as f64 * f64::from(self.hz)
    }

    /// Datagrams a second that the clients send.
    pub(crate) fn inputs_per_second(&self) -> f64 {
        self.clients as f64 * f64::from(self.rate)
    }
}
