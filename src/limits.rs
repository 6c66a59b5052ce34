//! [`Limits`]: what one peer may take.

use std::time::Duration;

/// How much of the server one connection may use.
///
/// Sizes are in bytes and inclusive: exactly the limit is accepted. What is above it is answered with the status named
/// at the field, and the connection is closed.
///
/// # Examples
///
/// ```
/// use micro_smol::Limits;
///
/// let limits = Limits { head_bytes_max: 32 * 1024, ..Limits::default() };
/// assert_eq!(limits.request_line_bytes_max, 8 * 1024);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The request line without its line end: 414 above. The default is 8 KiB.
    pub request_line_bytes_max: usize,
    /// The whole head, with the empty line that ends it: 431 above. The default is 16 KiB.
    pub head_bytes_max: usize,
    /// The number of field lines in a head: 431 above. The default is 100; a number above 256 counts as 256.
    pub field_lines_max: usize,
    /// From the first byte of a head to its end; on a new connection, from its start: 408 above, if a byte has come.
    /// The default is 10 seconds.
    pub head_timeout: Duration,
    /// From a response to the next request: closed above. The default is 75 seconds, longer than the usual balancer's 60.
    pub idle_timeout: Duration,
    /// Between bytes of a message body that the handler waits for: 408 above. The default is 30 seconds.
    pub body_timeout: Duration,
    /// What is read of a message body that the handler left unread, to keep the connection: closed above.
    /// The default is 64 KiB.
    pub unread_bytes_max: usize,
    /// Between bytes of a response that the peer takes: the connection is reset above. The default is 30 seconds.
    pub write_timeout: Duration,
    /// How long a server that was told to stop waits for its connections; what is not done then is cut.
    /// The default is 8 seconds: Docker kills after 10.
    pub drain_timeout: Duration,
    /// The number of open connections: no more are accepted at the limit. The default is as many as the process may have
    /// descriptors, less an eighth for other uses; a larger number counts as that. The soft limit is raised to the hard
    /// one when a server starts.
    pub connections_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            request_line_bytes_max: 8 * 1024,
            head_bytes_max: 16 * 1024,
            field_lines_max: 100,
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            body_timeout: Duration::from_secs(30),
            unread_bytes_max: 64 * 1024,
            write_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(8),
            connections_max: usize::MAX,
        }
    }
}
