//! Where a server is.

use std::net::{SocketAddr, ToSocketAddrs};

use ringfort_client::Error;

/// Host and address of `quic://host:port`; the scheme may be left out.
pub(super) fn resolve(url: &str) -> Result<(String, SocketAddr), Error> {
    let authority = url.strip_prefix("quic://").unwrap_or(url).trim_end_matches('/');
    let wrong = || Error::Url { url: url.to_owned() };
    let (host, port) = authority.rsplit_once(':').ok_or_else(wrong)?;
    let port: u16 = port.parse().map_err(|_| wrong())?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() {
        return Err(wrong());
    }
    let mut found = (host, port).to_socket_addrs()?;
    let server = found.next().ok_or_else(|| Error::NoAddress { host: host.to_owned() })?;
    Ok((host.to_owned(), server))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_with_and_without_a_scheme() {
        for url in ["quic://127.0.0.1:7777", "127.0.0.1:7777", "quic://127.0.0.1:7777/"] {
            let (host, server) = resolve(url).expect(url);
            assert_eq!((host.as_str(), server), ("127.0.0.1", SocketAddr::from(([127, 0, 0, 1], 7777))));
        }
        assert_eq!(resolve("quic://[::1]:9").expect("IPv6").1, "[::1]:9".parse().expect("an address"));
        for url in ["", "quic://", "127.0.0.1", ":7777", "127.0.0.1:port"] {
            assert!(matches!(resolve(url), Err(Error::Url { .. })), "{url}");
        }
    }
}
