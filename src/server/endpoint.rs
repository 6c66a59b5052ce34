//! [`Endpoint`]: where a server listens, as text.

use std::env;
use std::fmt;
use std::io;
use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::process;
use std::str::FromStr;

/// The number of the first descriptor that is handed over with `LISTEN_FDS`.
const LISTEN_FDS_START: i32 = 3;

/// More sockets than these are taken for an error.
const LISTEN_FDS_MAX: i64 = 1024;

/// `tcp://host:port`, `unix:/path`, or `fd:N`, a listening socket that this process was started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A host name or address, an IPv6 address in its brackets (RFC 3986, 3.2.2), and a port; 0 picks a free one.
    Tcp(String, u16),
    /// The path of a socket file.
    Unix(PathBuf),
    /// The number of a descriptor: 0, the standard input, or on Linux any.
    Descriptor(i32),
}

/// A variable that is to be set for another process: its name and its value.
pub type Variable = (String, String);

impl Endpoint {
    /// Where to listen by default: on the sockets that systemd has opened (`LISTEN_FDS`), else on a TCP endpoint.
    ///
    /// # Errors
    ///
    /// `LISTEN_FDS` is too large, `HOST` is not a host, or `PORT` is not a port number.
    pub fn defaults() -> io::Result<Vec<Self>> {
        let number = |name| env::var(name).ok().and_then(|text| text.parse::<i64>().ok());
        match number("LISTEN_FDS") {
            Some(count @ 1..) if number("LISTEN_PID") == Some(i64::from(process::id())) => {
                if count > LISTEN_FDS_MAX {
                    return Err(invalid(format!("LISTEN_FDS: {count} is not a number of sockets")));
                }
                Ok((LISTEN_FDS_START..).zip(0..count).map(|(number, _)| Endpoint::Descriptor(number)).collect())
            }
            _ => Ok(vec![Endpoint::tcp(None, None, &[])?]),
        }
    }

    /// A TCP endpoint; what is not given comes from `HOST` and `PORT`, of the environment or of `variables`, and else is 0.0.0.0
    /// and 3000.
    ///
    /// # Errors
    ///
    /// The host is not one, or `PORT` is not a port number.
    pub fn tcp(host: Option<String>, port: Option<u16>, variables: &[Variable]) -> io::Result<Self> {
        let set = |name| variables.iter().rfind(|(found, _)| found == name).map(|(_, value)| value.clone());
        let variable = |name| env::var(name).ok().or_else(|| set(name)).filter(|value| !value.is_empty());
        let (source, host) = match (host, variable("HOST")) {
            (Some(host), _) => ("", host),
            (None, Some(host)) => ("HOST: ", host),
            (None, None) => ("", "0.0.0.0".to_owned()),
        };
        let port = match (port, variable("PORT")) {
            (Some(port), _) => port,
            (None, None) => 3000,
            (None, Some(text)) => parse_port(&text).map_err(|error| invalid(format!("PORT: {error}")))?,
        };
        let is_bare = host.contains(':') && !host.starts_with('[');
        let host = if is_bare { format!("[{host}]") } else { host };
        match is_host(&host) {
            true => Ok(Endpoint::Tcp(host, port)),
            false => Err(invalid(format!("{source}{host:?} is not a host: give a name or an address"))),
        }
    }

    /// The URL that a client on this machine would use.
    pub fn url(&self) -> String {
        self.to_string().replacen("tcp://", "http://", 1)
    }

    /// The authority of a request that names no host.
    pub fn authority(&self) -> String {
        match self {
            Endpoint::Tcp(host, port) => format!("{host}:{port}"),
            Endpoint::Unix(_) | Endpoint::Descriptor(_) => "localhost".to_owned(),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Tcp(..) => write!(f, "tcp://{}", self.authority()),
            Endpoint::Unix(path) => write!(f, "unix:{}", path.display()),
            Endpoint::Descriptor(number) => write!(f, "fd:{number}"),
        }
    }
}

impl FromStr for Endpoint {
    type Err = io::Error;

    fn from_str(text: &str) -> io::Result<Self> {
        if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
            return Ok(Endpoint::Unix(path.into()));
        }
        if let Some(Ok(number @ 0..)) = text.strip_prefix("fd:").map(str::parse) {
            return Ok(Endpoint::Descriptor(number));
        }
        let tcp = text.strip_prefix("tcp://").and_then(|rest| rest.trim_end_matches('/').rsplit_once(':'));
        match tcp {
            Some((host, port)) if is_host(host) => {
                let port = parse_port(port).map_err(|error| invalid(format!("{text}: {error}")))?;
                Ok(Endpoint::Tcp(host.to_owned(), port))
            }
            _ => Err(invalid(format!(
                "{text:?} is not an endpoint: give tcp://HOST:PORT, unix:/PATH or fd:N; \
                 more: micro-smol explain endpoint-invalid"
            ))),
        }
    }
}

/// Parses a port number.
///
/// # Errors
///
/// The text is not a number from 0 to 65535.
pub fn parse_port(text: &str) -> io::Result<u16> {
    let advice = "give a number from 0 to 65535; more: micro-smol explain port-invalid";
    text.parse().map_err(|_| invalid(format!("{text:?} is not a port: {advice}")))
}

fn is_host(host: &str) -> bool {
    match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        // It may name an interface: fe80::1%eth0.
        Some(address) => address.split('%').next().is_some_and(|address| address.parse::<Ipv6Addr>().is_ok()),
        None => !host.is_empty() && !host.contains([':', '/', '[', ']']),
    }
}

pub fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}
