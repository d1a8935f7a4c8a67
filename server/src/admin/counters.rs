//! The admin process's counters in its segment, by name.

crate::counters::words! {
    REQUESTS = "admin_requests",
    TOKENS_REFUSED = "admin_tokens_refused",
    REQUESTS_UNKNOWN = "admin_requests_unknown",
    CONNECTIONS_REFUSED = "admin_connections_refused",
    CONNECTIONS_BROKEN = "admin_connections_broken",
}
