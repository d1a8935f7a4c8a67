//! The TLS tickets of a client: each lets one later handshake do without certificate and signature.

use crate::limits::TICKETS_KEPT;
use rustls::NamedGroup;
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::ServerName;
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The newest tickets of all servers, for all connections of one configuration: a hub with many sessions needs one for each of them when
/// all are made anew at once.
#[derive(Default)]
pub(super) struct TicketStore {
    /// The oldest first.
    kept: Mutex<VecDeque<(ServerName<'static>, Tls13ClientSessionValue)>>,
}

impl TicketStore {
    fn kept(&self) -> MutexGuard<'_, VecDeque<(ServerName<'static>, Tls13ClientSessionValue)>> {
        // A list of tickets is as good after a panic as before.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientSessionStore for TicketStore {
    /// There is one group only.
    fn set_kx_hint(&self, _server: ServerName<'static>, _group: NamedGroup) {}

    fn kx_hint(&self, _server: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    /// QUIC has no TLS 1.2.
    fn set_tls12_session(&self, _server: ServerName<'static>, _value: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _server: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _server: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, server: ServerName<'static>, value: Tls13ClientSessionValue) {
        let mut kept = self.kept();
        if kept.len() >= TICKETS_KEPT {
            kept.pop_front();
        }
        kept.push_back((server, value));
    }

    fn take_tls13_ticket(&self, server: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        let mut kept = self.kept();
        let at = kept.iter().rposition(|(of, _)| of == server)?;
        kept.remove(at).map(|(_, ticket)| ticket)
    }
}

impl fmt::Debug for TicketStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TicketStore({} kept)", self.kept().len())
    }
}
